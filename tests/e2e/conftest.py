"""Terminals and an ordinary user for the tests on real containers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import PROGRAM, Remora
from tests.support.terminal import Terminal
from tests.support.village import Person, Village, import_image, staying

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


@pytest.fixture(scope="module")
def somebody(busybox_tar: Path) -> Iterator[Person]:
    """An ordinary user, made once for a file, with the image busybox."""
    if os.geteuid() != 0:
        pytest.fail("making users needs root: run the tests with `make test`")
    with Village() as village:
        made = village.person("alice")
        import_image(made, busybox_tar)
        yield made


@pytest.fixture
def alice(somebody: Person) -> Iterator[Person]:
    """The same user, with nothing left of an earlier test."""
    with staying(somebody) as person:
        yield person
