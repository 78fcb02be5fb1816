"""Containers as they lie on disk: their records, names and state."""
