"""A second implementation of the three contracts: on grpclib, in memory, written independently of the services.

It shares with them the generated messages, the rules in the protos and the table of reasons, and nothing else.
"""
