"""Write the C source of the extension from the public header.

The declarations come from the part of the header between the two CDEF marks, so that there is no second copy
which could drift. Usage: make_cffi.py MODULE HEADER OUTPUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import cffi

BEGIN = "/* CDEF BEGIN */"
END = "/* CDEF END */"

# Types of <sys/types.h> that cffi doesn't know; "int..." lets the C compiler tell their size and sign.
POSIX_TYPES = "typedef int... pid_t; typedef int... uid_t; typedef int... gid_t;\n"


def main() -> None:
    module, header, output = sys.argv[1:]
    text = Path(header).read_text(encoding="utf-8")
    _, begin, rest = text.partition(BEGIN)
    declarations, end, _ = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{header}: the marks {BEGIN} and {END} are missing")
    ffi = cffi.FFI()
    ffi.cdef(POSIX_TYPES + declarations)
    ffi.set_source(module, '#include "remora.h"')
    ffi.emit_c_code(output)


if __name__ == "__main__":
    main()
