"""Looks at the terminal of a relay under test."""

from __future__ import annotations

import termios

from remora.monitor import Packet, core
from tests.monitor.conftest import FakeMonitor


def is_raw(fd: int) -> bool:
    """Whether a terminal hands on each key as it is typed."""
    return not int(termios.tcgetattr(fd)[3]) & termios.ICANON


def next_stdin(fake: FakeMonitor) -> Packet:
    """The next packet of input that came to the monitor."""
    while (packet := fake.receive()).kind != core.STDIN:
        pass
    return packet
