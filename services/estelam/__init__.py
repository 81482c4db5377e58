"""The shared library of all services. It imports no service, and of the contracts only estelam.inquiry."""
