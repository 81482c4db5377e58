"""Load generators that cost little: TLS and the protocol by hand, every reply checked.

A protocol's own Python client would saturate its core before the server does, and then measure itself.
"""
