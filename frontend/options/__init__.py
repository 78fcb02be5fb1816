"""Options of `run` and `create`: their table, parsing, validation, and translation into a container's request."""
