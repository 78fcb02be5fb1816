"""Containers with a user namespace of their own: maps of ids, where they come from, and what they mean for files."""
