"""The command line of Remora: options, images, bundles, names and output.

Nothing is imported here: each command pays only for what it uses.
"""
