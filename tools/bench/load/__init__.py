"""Cheap load generators: TLS and hand-written protocol framing; every reply is checked.

A regular Python client would saturate its core before the server does, and would measure itself.
"""
