"""The addresses that Podman has given to its containers: read from its database, never written.

Podman keeps them in `ipam.db`, a bbolt file (github.com/etcd-io/bbolt, version 2 of the format): a tree of pages with
buckets in buckets. Bucket <network> has a bucket for each subnet, whose keys are the addresses (4 or 16 bytes). It is
locked with flock while it is read. Whatever can't be understood counts as no address.
"""

from __future__ import annotations

import os
import struct

from remora.frontend.networks import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC, VERSION = 0xED0CDAED, 2
PAGE_HEADER = 16  # id u64, flags u16, count u16, overflow u32
ELEMENT = 16
BRANCH, LEAF = 1, 2  # flags of a page
LARGEST = 64 << 20
DEEPEST = 16


def taken(path: str, network: str) -> set[str]:
    """The addresses of a network that Podman's containers have. path: of the database."""
    try:
        data = _read(path)
        found = dict(_elements(data, _root(data), 0))
        bucket = found.get(network.encode())
        if bucket is None:
            return set()
        return {
            addresses.text(4 if len(key) == 4 else 6, int.from_bytes(key, "big"))
            for name, subnet in _elements(data, bucket, 0)
            if name != b"ids"
            for key, _ in _elements(data, subnet, 0)
            if len(key) in (4, 16)
        }
    except (OSError, ValueError, struct.error, RecursionError):
        return set()


def _read(path: str) -> bytes:
    import fcntl

    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        size = os.fstat(fd).st_size
        if size > LARGEST:
            raise ValueError("too large")
        return os.pread(fd, size, 0)
    finally:
        os.close(fd)


def _root(data: bytes) -> bytes:
    """The value of the root bucket, of the newer of the two meta pages that is sound."""
    best: tuple[int, bytes] | None = None
    page_size = struct.unpack_from("<I", data, PAGE_HEADER + 8)[0]
    for at in (0, page_size):
        magic, version, _, _ = struct.unpack_from("<IIII", data, at + PAGE_HEADER)
        transaction = struct.unpack_from("<Q", data, at + PAGE_HEADER + 48)[0]
        if magic == MAGIC and version == VERSION and (best is None or transaction > best[0]):
            best = transaction, data[at + PAGE_HEADER + 16 : at + PAGE_HEADER + 32]
    if best is None:
        raise ValueError("no bbolt file")
    return best[1]


def _elements(data: bytes, bucket: bytes, depth: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a bucket; of one without a page of its own, the page follows its header."""
    page = struct.unpack_from("<Q", bucket)[0]
    if page == 0:
        yield from _page(data, bucket, 16, depth)
    else:
        yield from _page(data, data, page * struct.unpack_from("<I", data, PAGE_HEADER + 8)[0], depth)


def _page(data: bytes, space: bytes, at: int, depth: int) -> Iterator[tuple[bytes, bytes]]:
    if depth > DEEPEST:
        raise ValueError("the tree is too deep")
    _, flags, count, _ = struct.unpack_from("<QHHI", space, at)
    for number in range(count):
        here = at + PAGE_HEADER + number * ELEMENT
        if flags & LEAF:
            _, offset, key_size, value_size = struct.unpack_from("<IIII", space, here)
            key_at = here + offset
            value_at = key_at + key_size
            yield space[key_at:value_at], space[value_at : value_at + value_size]
        elif flags & BRANCH:
            _, _, child = struct.unpack_from("<IIQ", space, here)
            yield from _page(data, data, child * struct.unpack_from("<I", data, PAGE_HEADER + 8)[0], depth + 1)
