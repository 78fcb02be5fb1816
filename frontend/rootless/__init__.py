"""Containers of ordinary users: where their folders are, their ids, and the user namespace that commands enter."""
