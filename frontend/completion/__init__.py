"""Completing command lines in shells: what may follow (line), which values (values), the shells' scripts."""
