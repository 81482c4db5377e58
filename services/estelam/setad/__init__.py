"""Generated stubs of the contract `estelam.setad`."""
