"""What may stand where the cursor is: the command line up to it, read by the tables and parsers that run it.

There is no second table of commands or options: the tables are those of `remora.frontend.cli`, the options and
arguments those of the command's own parser, and each argument's `complete` (or its metavar) tells what it takes.
"""

from __future__ import annotations

from remora.frontend import cli
from remora.frontend.arguments import REMAINDER, Argument, ArgumentParser
from remora.frontend.completion.values import Offer, Values
from remora.frontend.errors import RemoraError
from remora.frontend.settings import GlobalOptions, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HELP = ("--help", "Show this help")
GLOBAL_COMPLETE = {
    "--cgroup-manager": "cgroupfs systemd",
    "--root": "@folder",
    "--runroot": "@folder",
    "--runtime": "crun runc @file",
}


def complete(words: Sequence[str], environ: Mapping[str, str]) -> Offer:
    """What may be in the place of the last word (which may be empty), given those before it without the program."""
    *before, current = words or [""]
    options = GlobalOptions()
    at = 0
    while at < len(before) and before[at].startswith("-"):
        flag, equals, value = before[at].partition("=")
        at += 1
        attribute = cli.GLOBAL_VALUES.get(flag)
        if attribute is None:
            continue
        if not equals:
            if at == len(before):
                return _values(options, environ).offer(GLOBAL_COMPLETE.get(flag, ""), current)
            value = before[at]
            at += 1
        setattr(options, attribute, value)
    values = _values(options, environ)
    if at == len(before):
        return _first(values, current)
    rest = before[at:]
    helping = rest[0] == "help"
    if helping:
        rest = rest[1:]
        if not rest:
            return _first(values, current, options=False)
    noun = cli.NOUNS.get(rest[0])
    if noun is not None and len(rest) == 1:
        commands = {**cli.COMMANDS, **cli.GROUPED}
        return _listed({verb: commands[name].summary for verb, name in noun.items()}, current)
    if helping or rest[0] == "help" or (noun is not None and rest[1].startswith("-")):
        return Offer()
    try:
        name, prog, done = cli.find_command(rest)
    except RemoraError:
        return Offer()
    command = cli.COMMANDS.get(name) or cli.GROUPED.get(name)
    if command is None:
        return Offer()
    parser, _ = cli.command_parser(name, prog, command)
    return _argument(parser, done, current, values)


def _values(options: GlobalOptions, environ: Mapping[str, str]) -> Values:
    return Values(load(options, environ))


def _listed(words: Mapping[str, str], current: str) -> Offer:
    offer = Offer()
    for word in sorted(words):
        offer.add(word, words[word], current)
    return offer


def _first(values: Values, current: str, options: bool = True) -> Offer:
    """A command or a noun, or an option that stands before them."""
    if not current.startswith("-"):
        commands = {name: command.summary for name, command in cli.COMMANDS.items()}
        return _listed({**commands, **cli.NOUN_SUMMARIES, "help": "Tell more about a command"}, current)
    offer = Offer()
    if not options:
        return offer
    flag, equals, value = current.partition("=")
    if equals:
        return values.offer(GLOBAL_COMPLETE.get(flag, ""), value, flag + "=")
    for names, text in cli.GLOBAL_HELP:
        for word in names.replace(",", "").split():
            if word.startswith("-"):
                offer.add(word, text, current)
    return offer


def _argument(parser: ArgumentParser, done: Sequence[str], current: str, values: Values) -> Offer:
    """An option, the value of one, or an argument of the command."""
    given: list[str] = []
    seen: set[str] = set()
    ended = False
    at = 0
    while at < len(done):
        word = done[at]
        at += 1
        if ended or word == "-" or not word.startswith("-"):
            given.append(word)
            ended = ended or not parser.interspersed
        elif word == "--":
            ended = True
        else:
            argument, waits = _option(parser, word)
            if argument is not None:
                seen.add(argument.dest)
            if argument is not None and waits:
                if at == len(done):
                    return values.offer(argument_values(argument), current)
                at += 1
    if not ended and current.startswith("-"):
        flag, equals, value = current.partition("=")
        if not equals:
            return _options(parser, current)
        argument = parser.options.get(flag)
        if argument is None:
            return Offer()
        return values.offer(argument_values(argument) if argument.takes_value else "true false", value, flag + "=")
    argument = _positional(parser, len(given))
    if argument is None:
        return Offer()
    complete = argument_values(argument)
    if complete == "@image" and "rootfs" in seen:
        complete = "@folder"
    elif complete == "@object" and "--type" in done[:-1]:  # `container inspect`
        complete = "@" + done[done.index("--type") + 1].replace("all", "object")
    return values.offer(complete, current, without=given)


def _option(parser: ArgumentParser, word: str) -> tuple[Argument | None, bool]:
    """The (last) option that a word holds, and whether its value is the next word."""
    if word.startswith("--"):
        flag, equals, _ = word.partition("=")
        argument = parser.options.get(flag)
        return argument, argument is not None and not equals and _waits(argument)
    argument = None
    for at, letter in enumerate(word[1:], 2):
        argument = parser.options.get("-" + letter)
        if argument is None or word[at : at + 1] == "=":
            return argument, False
        if _waits(argument):
            return argument, at == len(word)
    return argument, False


def _waits(argument: Argument) -> bool:
    return argument.takes_value and argument.nargs != "?"


def _options(parser: ArgumentParser, current: str) -> Offer:
    offer = Offer()
    for argument in parser.listed:
        if argument.help is not None:
            for flag in argument.flags:
                offer.add(flag, argument.help, current)
    offer.add(*HELP, current)
    return offer


def _positional(parser: ArgumentParser, index: int) -> Argument | None:
    """The argument that the word at this index is; None when there is none, or it is a command's own."""
    for argument in parser.positionals:
        if argument.nargs in ("*", "+"):
            return argument
        if argument.nargs == REMAINDER:
            return argument if index == 0 else None
        if index == 0:
            return argument
        index -= 1
    return None


def argument_values(argument: Argument) -> str:
    """What a shell offers for it."""
    if argument.complete is not None:
        return argument.complete
    if argument.choices is not None:
        return " ".join(argument.choices)
    kinds = {
        "CONTAINER": "@container",
        "FILE": "@file",
        "FORMAT": "json table",
        "IMAGE": "@image",
        "NETWORK": "@network",
        "PATH": "@file",
        "VOLUME": "@volume",
    }
    return kinds.get(argument.metavar, "")
