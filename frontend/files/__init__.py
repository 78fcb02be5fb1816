"""Files of containers: copying them in and out, comparing them with the image, exporting them.

Everything here goes by descriptors: a path of a container is resolved below its root by openat2(2), and below that each
name is opened alone, without following links. What a container does to its files meanwhile can change what is copied
of it, but leads nowhere outside.
"""
