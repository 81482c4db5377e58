"""Generated stubs of the contract `estelam.inquiry.v1`."""
