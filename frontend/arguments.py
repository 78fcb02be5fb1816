"""A command line parser with the rules of Docker's and Podman's, and no imports.

The calls are argparse's (`add_argument` with the same keywords, a namespace comes back), so that a command
reads as any other Python program; the rules are pflag's, which argparse can't be brought to follow:

- a flag may be switched off: `--sig-proxy=false`; a flag therefore never takes the next word;
- `-itd` is `-i -t -d`, `-eA=B` and `-e A=B` are the same, `-it=false` works;
- options may come after arguments, unless `interspersed=False` (run, exec, create: the rest is the command);
- `--` ends the options; an option that is not known brings one line with the nearest one.

argparse alone takes 8 ms to import, a tenth of a whole `run`.
"""

from __future__ import annotations

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

REMAINDER = "..."
TRUE = ("1", "t", "T", "true", "TRUE", "True")
FALSE = ("0", "f", "F", "false", "FALSE", "False")


class ArgumentTypeError(Exception):
    """Raised by a `type` function: the text says what is wrong with the value."""


class HelpAsked(Exception):
    """`--help` was among the arguments."""


class Namespace:
    """The parsed values as attributes."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:  # for the type checker: the attributes are the parser's `dest`s
        raise AttributeError(name)


class Argument:
    """One option or positional argument."""

    __slots__ = (
        "flags",
        "dest",
        "action",
        "nargs",
        "const",
        "default",
        "type",
        "choices",
        "metavar",
        "help",
        "complete",
    )

    def __init__(self, flags: Sequence[str], dest: str, action: str) -> None:
        self.flags = flags
        self.dest = dest
        self.action = action
        self.nargs: str | None = None
        self.const: object = None
        self.default: object = None
        self.type: Callable[[str], object] | None = None
        self.choices: Iterable[str] | None = None
        self.metavar = ""
        self.help: str | None = ""
        self.complete: str | None = None

    @property
    def takes_value(self) -> bool:
        return self.action in ("store", "append")

    @property
    def shown(self) -> str:
        """How messages call it."""
        return ", ".join(self.flags) if self.flags else self.metavar or self.dest.upper()


class ArgumentParser:
    """The parser of one command. prog: as shown in help, `remora run`."""

    def __init__(self, prog: str, description: str = "", example: str = "", interspersed: bool = True) -> None:
        self.prog = prog
        self.description = description
        self.example = example
        self.interspersed = interspersed
        self.options: dict[str, Argument] = {}
        self.listed: list[Argument] = []
        self.positionals: list[Argument] = []
        self.defaults: dict[str, object] = {}

    def add_argument(
        self,
        *flags: str,
        dest: str = "",
        action: str = "store",
        nargs: str | None = None,
        const: object = None,
        default: object = None,
        type: Callable[[str], object] | None = None,
        choices: Iterable[str] | None = None,
        metavar: str = "",
        help: str | None = "",
        required: bool = False,
        complete: str | None = None,
    ) -> Argument:
        """Add an option (`-x`, `--long`) or a positional argument.

        action: store, append, store_true, store_false, store_const, count. An `append` without default gives [].
        nargs: for a positional `?`, `*`, `+` or REMAINDER (everything from there on); for an option `?` (value only
        with `=`, else `const`). type: makes the value from the text; ArgumentTypeError or ValueError refuse it.
        help: None hides it from the help. complete: what a shell offers for it: words, and `@kind` with or without a
        prefix (frontend/completion/values.py); None: the choices, else what the metavar stands for; "": nothing.
        """
        positional = not flags[0].startswith("-")
        if not dest:
            longest = next((flag for flag in flags if flag.startswith("--")), flags[0])
            dest = longest.lstrip("-").replace("-", "_")
        argument = Argument(() if positional else flags, dest, action)
        argument.nargs, argument.const, argument.type, argument.choices = nargs, const, type, choices
        argument.metavar, argument.help, argument.complete = metavar, help, complete
        if action in ("store_true", "store_false"):
            default = (action == "store_false") if default is None else default
        elif action == "append" or nargs in ("*", "+", REMAINDER):
            default = [] if default is None else default
        elif action == "count":
            default = 0 if default is None else default
        argument.default = default
        if positional:
            argument.metavar = metavar or flags[0].upper()
            self.positionals.append(argument)
        else:
            self.listed.append(argument)
            for flag in flags:
                self.options[flag] = argument
        return argument

    def set_defaults(self, **values: object) -> None:
        """Values for the namespace that no argument sets."""
        self.defaults.update(values)

    def error(self, message: str) -> RemoraError:
        """The error for a wrong command line; to be raised by the caller."""
        return RemoraError(message, f"see `{self.prog} --help`")

    # ---- parsing ----------------------------------------------------------------------------

    def parse_args(self, arguments: Sequence[str]) -> Namespace:
        """Raises RemoraError for a wrong command line, HelpAsked for --help."""
        values: dict[str, Any] = dict(self.defaults)
        for argument in (*self.listed, *self.positionals):
            values.setdefault(argument.dest, argument.default)
        words: list[str] = []
        at = 0
        while at < len(arguments):
            word = arguments[at]
            at += 1
            if word == "--":
                words += arguments[at:]
                break
            if word == "-" or not word.startswith("-"):
                words.append(word)
                if not self.interspersed:
                    words += arguments[at:]
                    break
            elif word.startswith("--"):
                at = self._long(values, word, arguments, at)
            else:
                at = self._short(values, word, arguments, at)
        self._positional(values, words)
        return Namespace(values)

    def _long(self, values: dict[str, Any], word: str, arguments: Sequence[str], at: int) -> int:
        flag, equals, value = word.partition("=")
        argument = self.options.get(flag)
        if argument is None:
            if flag == "--help":
                raise HelpAsked
            raise self._unknown(flag)
        if equals:
            self._set(values, argument, flag, value)
        elif not argument.takes_value or argument.nargs == "?":
            self._set(values, argument, flag, None)
        else:
            if at == len(arguments):
                raise self.error(f"flag needs an argument: {flag}")
            self._set(values, argument, flag, arguments[at])
            at += 1
        return at

    def _short(self, values: dict[str, Any], word: str, arguments: Sequence[str], at: int) -> int:
        rest = word[1:]
        while rest:
            flag = "-" + rest[0]
            rest = rest[1:]
            argument = self.options.get(flag)
            if argument is None:
                if flag == "-h":
                    raise HelpAsked
                raise self._unknown(flag, word)
            if rest.startswith("="):
                self._set(values, argument, flag, rest[1:])
                return at
            if not argument.takes_value or argument.nargs == "?":
                self._set(values, argument, flag, None)
                continue
            if rest:
                self._set(values, argument, flag, rest)
                return at
            if at == len(arguments):
                raise self.error(f"flag needs an argument: '{flag[1]}' in {word}")
            self._set(values, argument, flag, arguments[at])
            return at + 1
        return at

    def _set(self, values: dict[str, Any], argument: Argument, flag: str, value: str | None) -> None:
        if argument.action in ("store_true", "store_false"):
            wanted = argument.action == "store_true"
            if value is not None:
                if value not in TRUE and value not in FALSE:
                    raise self.error(f'invalid argument "{value}" for "{argument.shown}": true or false expected')
                wanted = wanted == (value in TRUE)
            values[argument.dest] = wanted
        elif argument.action == "store_const":
            if value is not None:
                raise self.error(f"{flag} takes no value")
            values[argument.dest] = argument.const
        elif argument.action == "count":
            values[argument.dest] += 1
        else:
            converted = argument.const if value is None else self._convert(argument, value)
            if argument.action == "append":
                values[argument.dest] = [*values[argument.dest], converted]
            else:
                values[argument.dest] = converted

    def _convert(self, argument: Argument, value: str) -> object:
        if argument.choices is not None and value not in argument.choices:
            allowed = ", ".join(argument.choices)
            raise self.error(f'invalid argument "{value}" for "{argument.shown}": one of {allowed} expected')
        if argument.type is None:
            return value
        try:
            return argument.type(value)
        except ArgumentTypeError as error:
            raise self.error(f'invalid argument "{value}" for "{argument.shown}": {error}') from None
        except ValueError:
            kind = {int: "a whole number", float: "a number"}.get(argument.type, "another form")  # type: ignore[call-overload]
            raise self.error(f'invalid argument "{value}" for "{argument.shown}": {kind} expected') from None

    def _positional(self, values: dict[str, Any], words: list[str]) -> None:
        needed = [argument for argument in self.positionals if argument.nargs in (None, "+")]
        if len(words) < len(needed):
            missing = needed[len(words)].metavar
            raise self.error(f'"{self.prog}" needs at least {len(needed)} argument(s): {missing} is missing')
        left = len(needed)
        for argument in self.positionals:
            if argument.nargs is None:
                values[argument.dest] = self._convert(argument, words.pop(0))
                left -= 1
            elif argument.nargs == "?":
                if len(words) > left:
                    values[argument.dest] = self._convert(argument, words.pop(0))
            else:
                if argument.nargs == "+":
                    left -= 1
                take = len(words) - left
                values[argument.dest] = [self._convert(argument, word) for word in words[:take]]
                words = words[take:]
        if words:
            raise self.error(f'"{self.prog}" takes no argument "{words[0]}" here')

    def _unknown(self, flag: str, word: str = "") -> RemoraError:
        if word and len(word) > 2:
            text = f"unknown shorthand flag: '{flag[1]}' in {word}"
        elif not flag.startswith("--"):
            text = f"unknown shorthand flag: '{flag[1:]}' in {flag}"
        else:
            text = f"unknown flag: {flag}"
        if flag.startswith("--") or word:
            from difflib import get_close_matches

            wrong = flag if flag.startswith("--") else "-" + word
            near = get_close_matches(wrong, [known for known in self.options if known.startswith("--")], 1, 0.7)
            if near:
                return RemoraError(text, f"did you mean {near[0]}? See `{self.prog} --help`")
        return self.error(text)

    # ---- help -------------------------------------------------------------------------------

    def format_usage(self) -> str:
        """`Usage: remora wait [options] CONTAINER...`"""
        parts = ["Usage:", self.prog]
        if self.listed:
            parts.append("[options]")
        for argument in self.positionals:
            name = argument.metavar
            many = {None: name, "?": f"[{name}]", "*": f"[{name}...]", "+": f"{name} [{name}...]"}
            parts.append(many.get(argument.nargs, f"[{name}...]"))
        return " ".join(parts)

    def format_help(self) -> str:
        """The whole help text of the command."""
        lines = [self.description, "", self.format_usage()] if self.description else [self.format_usage()]
        rows: list[tuple[str, str]] = []
        for argument in self.listed:
            if argument.help is None:
                continue
            flags = sorted(argument.flags, key=len)
            names = ("    " if len(flags[0]) > 2 else "") + ", ".join(flags)
            if argument.takes_value:
                names += " " + (argument.metavar or argument.dest.upper().replace("_", "-"))
            rows.append((names, argument.help))
        rows.sort(key=lambda row: row[0].replace("-", "").strip().lower())
        if rows:
            width = min(max(len(names) for names, _ in rows), 32)
            lines += ["", "Options:"]
            lines += [f"  {names:<{width}}  {text}".rstrip() for names, text in rows]
        if self.example:
            lines += ["", "Example:", f"  {self.example}"]
        return "\n".join(lines) + "\n"
