"""Does what an ordinary user leaves running outlive the last session?

Where systemd runs, it ends the user's manager and removes XDG_RUNTIME_DIR, and with it the way to every container,
when the last session ends; unless lingering is on for the user, which is a file (loginctl(1), `enable-linger`).
"""

from __future__ import annotations

import os

from remora.frontend.rootless.ranges import login_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.settings import Settings

SYSTEMD = "/run/systemd/system"
FOLDER = "/var/lib/systemd/linger"


def warn(settings: Settings) -> None:
    """A line on stderr when a detached container would end with the session."""
    if not settings.rootless or not os.path.isdir(SYSTEMD):
        return
    name = login_name(settings.uid)
    if not os.path.exists(f"{FOLDER}/{name}"):
        line = f"lingering is off for {name}: the container ends with your last session (`loginctl enable-linger`)"
        os.write(2, f"Warning: {line}\n".encode(errors="surrogateescape"))
