"""Generated stubs of the contract `estelam.promissory.v1`."""
