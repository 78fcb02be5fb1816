"""A runtime that only starts processes: no namespaces, no cgroup, a few milliseconds a call.

For tests that need thousands of runs, where runc alone would take an hour; each such test has a part that uses runc.
It knows what a monitor asks of a runtime for a container without a tty: `run --detach`, `delete`, `kill`.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from remora.monitor import Connection
from tests.support.box import Box

SCRIPT = """#!/bin/sh
# The program is in the bundle, as `program`; the words before the verb are global options.
verb= bundle= pidfile= id=
while [ $# -gt 0 ]; do
    case $1 in
    --bundle) bundle=$2; shift ;;
    --pid-file) pidfile=$2; shift ;;
    --root | --log | --log-format) shift ;;
    run | delete | kill) verb=$1 ;;
    -*) ;;
    *) id=$1 ;;
    esac
    shift
done
case $verb in
run)
    # Not a child of this shell, which would reap it if it ended at once: it tells its pid itself.
    exec 9<&0 7>&1
    start='echo $$ >&8; exec /bin/sh "$1" 7>&- 8>&- 9<&-'
    echo $(setsid --fork /bin/sh -c "$start" start "$bundle/program" 8>&1 >&7 <&9) >"$pidfile"
    ;;
esac
exit 0
"""


def light_runtime(folder: Path) -> str:
    """Write the runtime into a folder; its path."""
    path = folder / "light-runtime"
    if not path.exists():
        path.write_text(SCRIPT)
        path.chmod(0o755)
    return str(path)


class LightBox(Box):
    """A box whose process is an ordinary one, started by the light runtime."""

    def __init__(self, folder: Path, root: Path) -> None:
        super().__init__(folder, root)
        # Beside the root, once: a script just written can't be executed while another thread's child has it open.
        self.runtime = [light_runtime(root.parent)]

    def start(self, *args: str, tty: bool = False, **overrides: object) -> Connection:
        assert not tty, "the light runtime makes no terminal"
        (self.data / "bundle/program").write_text(f"exec {shlex.join(args)}\n")
        return super().start(*args, tty=False, **{"cgroup": "", **overrides})
