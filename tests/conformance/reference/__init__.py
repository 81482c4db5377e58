"""A second implementation of the three contracts: on grpclib, in memory, written apart from the services.

It shares with them the generated messages, the rules in the protos and the table of reasons, and nothing else.
"""
