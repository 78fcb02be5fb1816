"""Doing something as another user: a child of this process that becomes that user for good."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

# Users by number: nobody's files, nobody's groups.
ALICE = 61001
BOB = 61002


def as_user(uid: int, act: Callable[[], object]) -> str:
    """What `act` returned, as text, or the name of the error it failed with ("EACCES").

    `act` runs in a forked child with the real, effective and saved ids of that user and no further groups.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            try:
                text = str(act())
            except OSError as error:
                text = errno.errorcode.get(error.errno or 0, repr(error))
            except Exception as error:
                text = repr(error)
            os.write(write, text.encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        text = file.read().decode()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child of user {uid} ended with {status}"
    return text
