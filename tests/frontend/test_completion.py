"""Completion: every argument of every command leads to something that can be looked up."""

from __future__ import annotations

from pathlib import Path

import pytest

from remora.frontend import cli
from remora.frontend.completion import line
from remora.frontend.completion.values import Offer, Values
from remora.frontend.options import table
from remora.frontend.settings import Settings

COMMANDS = {**cli.COMMANDS, **cli.GROUPED}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_offers_words_names_of_a_known_kind_or_nothing(name: str, tmp_path: Path) -> None:
    values = Values(Settings(data=str(tmp_path / "data"), run=str(tmp_path / "run"), environ={}))
    parser, _ = cli.command_parser(name, name, COMMANDS[name])
    for argument in (*parser.listed, *parser.positionals):
        for typed in ("", *(item.partition("@")[0] for item in line.argument_values(argument).split() if "@" in item)):
            values.offer(line.argument_values(argument), typed)  # KeyError: a kind that does not exist


def test_the_values_described_belong_to_options_that_exist() -> None:
    assert set(table.COMPLETE) <= {option.names[0] for option in table.OPTIONS}


@pytest.mark.parametrize(
    ("words", "last"),
    [
        (["data:", "mail="], ":open 0"),
        (["data:", "mail"], ":words 0"),
        ([], ":words 0"),
    ],
)
def test_no_space_follows_where_every_word_goes_on(words: list[str], last: str) -> None:
    offer = Offer()
    for word in words:
        offer.add(word, "", "")
    assert offer.lines()[-1] == last


def test_words_that_a_terminal_would_obey_are_left_out() -> None:
    offer = Offer()
    offer.add("a\x1b[2Jb", "", "")
    offer.add("a\nb", "", "")
    assert offer.lines() == [":words 0"]
