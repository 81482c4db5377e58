"""Generated stubs of the contract `estelam.inquiry`."""
