"""Generated stubs of the contract `estelam.judiciary`."""
