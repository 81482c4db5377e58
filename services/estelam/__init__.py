"""The house: what every official inquiry shares. It knows no service's contract."""
