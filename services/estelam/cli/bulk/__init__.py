"""Bulk check: a list of questions of one kind is asked row by row; the services describe their questions."""
