"""The command line parser follows pflag's rules, which Docker's and Podman's users have in their fingers."""

from __future__ import annotations

import pytest

from remora.frontend.arguments import REMAINDER, ArgumentParser, ArgumentTypeError, HelpAsked
from remora.frontend.errors import RemoraError


def even(text: str) -> int:
    number = int(text)
    if number % 2:
        raise ArgumentTypeError("an even number is expected")
    return number


def make(interspersed: bool = True) -> ArgumentParser:
    parser = ArgumentParser("remora try", "Try it", "remora try --all", interspersed)
    parser.add_argument("--all", "-a", action="store_true", help="All of them")
    parser.add_argument("--sig-proxy", action="store_true", default=True)
    parser.add_argument("--interactive", "-i", action="store_true")
    parser.add_argument("--tty", "-t", action="store_true")
    parser.add_argument("--env", "-e", action="append", metavar="NAME=VALUE")
    parser.add_argument("--time", type=int, default=10)
    parser.add_argument("--even", type=even)
    parser.add_argument("--kind", choices=("one", "two"))
    parser.add_argument("--hidden", help=None)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("words", nargs=REMAINDER)
    return parser


def test_short_flags_can_be_bundled_and_the_last_may_take_a_value() -> None:
    found = make().parse_args(["-itaeA=1", "-e", "B=2", "--env", "C=3", "--env=D=4", "-e=E=5", "x"])
    assert (found.interactive, found.tty, found.all) == (True, True, True)
    assert found.env == ["A=1", "B=2", "C=3", "D=4", "E=5"]
    assert found.name == "x"


@pytest.mark.parametrize(
    ("words", "all_", "proxy"),
    [
        (["--all=false", "x"], False, True),
        (["--all=true", "--sig-proxy=false", "x"], True, False),
        (["-a=0", "--sig-proxy=0", "x"], False, False),
        (["-a", "x"], True, True),
    ],
)
def test_flags_can_be_switched_off_and_never_take_the_next_word(words: list[str], all_: bool, proxy: bool) -> None:
    found = make().parse_args(words)
    assert (found.all, found.sig_proxy, found.name) == (all_, proxy, "x")


def test_options_may_follow_arguments_unless_the_rest_is_a_command() -> None:
    found = make().parse_args(["x", "y", "--all", "z"])
    assert (found.name, found.words, found.all) == ("x", ["y", "z"], True)
    found = make(interspersed=False).parse_args(["-i", "x", "ls", "--all", "-t"])
    assert (found.name, found.words, found.all, found.tty) == ("x", ["ls", "--all", "-t"], False, False)


def test_two_dashes_end_the_options() -> None:
    found = make().parse_args(["--", "-x", "--all"])
    assert (found.name, found.words, found.all) == ("-x", ["--all"], False)


def test_lists_are_not_shared_between_two_parses() -> None:
    parser = make()
    assert parser.parse_args(["-e", "A=1", "x"]).env == ["A=1"]
    assert parser.parse_args(["x"]).env == []


@pytest.mark.parametrize(
    ("words", "text", "hint"),
    [
        (["--al", "x"], "unknown flag: --al", "did you mean --all?"),
        (["--interactiv", "x"], "unknown flag: --interactiv", "did you mean --interactive?"),
        (["-ix", "x"], "unknown shorthand flag: 'x' in -ix", "--help"),
        (["-x"], "unknown shorthand flag: 'x' in -x", "--help"),
        (["-all", "x"], "unknown shorthand flag: 'l' in -all", "did you mean --all?"),
        (["x", "--time"], "flag needs an argument: --time", "--help"),
        (["x", "-e"], "flag needs an argument: 'e' in -e", "--help"),
        (["--time", "soon", "x"], 'invalid argument "soon" for "--time": a whole number expected', "--help"),
        (["--even", "3", "x"], 'invalid argument "3" for "--even": an even number is expected', "--help"),
        (["--kind", "three", "x"], 'invalid argument "three" for "--kind": one of one, two expected', "--help"),
        (["--all=maybe", "x"], 'invalid argument "maybe" for "--all, -a": true or false expected', "--help"),
        ([], "NAME is missing", "--help"),
    ],
)
def test_wrong_command_line_brings_one_line_with_a_remedy(words: list[str], text: str, hint: str) -> None:
    with pytest.raises(RemoraError) as caught:
        make().parse_args(words)
    assert text in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.status == 125


def test_positional_arguments_are_dealt_out_in_order() -> None:
    parser = ArgumentParser("remora try")
    parser.add_argument("first", nargs="+")
    parser.add_argument("last")
    found = parser.parse_args(["a", "b", "c"])
    assert (found.first, found.last) == (["a", "b"], "c")
    parser = ArgumentParser("remora try")
    parser.add_argument("one", nargs="?")
    assert parser.parse_args([]).one is None
    assert parser.parse_args(["x"]).one == "x"
    with pytest.raises(RemoraError, match="takes no argument"):
        parser.parse_args(["x", "y"])


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_is_asked_for_anywhere_among_the_options(word: str) -> None:
    with pytest.raises(HelpAsked):
        make().parse_args(["--all", word])


def test_help_shows_usage_options_and_example() -> None:
    text = make().format_help()
    assert text.startswith("Try it\n\nUsage: remora try [options] NAME [WORDS...]\n")
    assert "All of them" in text
    assert "-e, --env NAME=VALUE" in text
    assert "--hidden" not in text
    assert text.endswith("Example:\n  remora try --all\n")
