"""Terminals for the tests on real containers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import PROGRAM, Remora
from tests.support.terminal import Terminal

TerminalFactory = Callable[..., Terminal]


@pytest.fixture
def terminal(remora: Remora) -> Iterator[TerminalFactory]:
    """`terminal("run", "-it", …)` starts `remora run -it …` on a pty of its own; `argv=` any other program."""
    opened: list[Terminal] = []

    def start(*arguments: str, argv: list[str] | None = None, rows: int = 24, columns: int = 80) -> Terminal:
        words = argv if argv is not None else [str(PROGRAM), *arguments]
        opened.append(Terminal(words, {**remora.environment, "TERM": "xterm"}, rows, columns))
        return opened[-1]

    yield start
    for one in opened:
        one.close()
