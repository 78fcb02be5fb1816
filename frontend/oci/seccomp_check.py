"""What is wrong with a seccomp profile, and where: file, line and column.

A profile that the user names is checked as a whole when the container is made; the checks are not on the way of a
container that has the default profile. The place is found by reading the text once more, with a scanner that knows
where each value begins.
"""

from __future__ import annotations

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Path: TypeAlias = tuple[str | int, ...]

# config-linux.md of the runtime specification
ACTIONS = tuple(
    "SCMP_ACT_" + name for name in "KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG NOTIFY".split()
)
OPERATORS = tuple("SCMP_CMP_" + name for name in "NE LT LE EQ GE GT MASKED_EQ".split())
ARCHITECTURES = tuple(
    "SCMP_ARCH_" + name
    for name in (
        "X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X "
        "PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB"
    ).split()
)
KEYS = frozenset(
    "defaultAction defaultErrno defaultErrnoRet archMap architectures flags listenerPath listenerMetadata "
    "syscalls".split()
)
RULE_KEYS = frozenset("names name action args comment includes excludes errno errnoRet".split())
ARGUMENTS = 6
LARGEST = (1 << 64) - 1


class Wrong(Exception):
    """A value of the profile that can't be. path: keys and indices that lead to it; hint: a remedy or ""."""

    def __init__(self, path: Path, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.path = path
        self.text = text
        self.hint = hint


def check(path: str, text: bytes) -> None:
    """Raise RemoraError naming line and column of the first thing that is wrong in a profile."""
    import json

    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        before = text[: error.start]
        raise _error(path, before.count(b"\n") + 1, error.start - before.rfind(b"\n"), "not UTF-8") from None
    try:
        value = json.loads(decoded)
    except json.JSONDecodeError as error:
        what = error.msg[:1].lower() + error.msg[1:]
        raise _error(path, error.lineno, error.colno, what, "it must be JSON") from None
    except RecursionError:
        raise _error(path, 1, 1, "nested too deeply") from None
    try:
        _profile(value)
    except Wrong as wrong:
        position = _position(decoded, wrong.path)
        before_it = decoded[:position]
        line, column = before_it.count("\n") + 1, position - before_it.rfind("\n")
        raise _error(path, line, column, wrong.text, wrong.hint) from None


def _error(path: str, line: int, column: int, what: str, hint: str = "") -> RemoraError:
    return RemoraError(f"seccomp profile {path}, line {line}, column {column}: {what}", hint or "correct the file")


# ---- the checks -------------------------------------------------------------------------------


def _profile(value: object) -> None:
    profile = _object(value, ())
    for key in profile:
        if key not in KEYS:
            raise Wrong((key,), f'unknown key "{key}"', _near(key, KEYS))
    if "defaultAction" not in profile:
        raise Wrong((), "defaultAction is missing", 'add "defaultAction": "SCMP_ACT_ERRNO"')
    _word(profile["defaultAction"], ("defaultAction",), ACTIONS, "action")
    _errno(profile, ("defaultErrno", "defaultErrnoRet"), ())
    if profile.get("architectures") and profile.get("archMap"):
        raise Wrong(("archMap",), "architectures and archMap are both given", "leave out one of them")
    for index, name in enumerate(_list(profile.get("architectures"), ("architectures",))):
        _word(name, ("architectures", index), ARCHITECTURES, "architecture")
    for index, entry in enumerate(_list(profile.get("archMap"), ("archMap",))):
        here: Path = ("archMap", index)
        fields = _object(entry, here)
        if "architecture" not in fields:
            raise Wrong(here, "architecture is missing")
        _word(fields["architecture"], (*here, "architecture"), ARCHITECTURES, "architecture")
        for number, name in enumerate(_list(fields.get("subArchitectures"), (*here, "subArchitectures"))):
            _word(name, (*here, "subArchitectures", number), ARCHITECTURES, "architecture")
    for index, flag in enumerate(_list(profile.get("flags"), ("flags",))):
        _text(flag, ("flags", index))
    for index, rule in enumerate(_list(profile.get("syscalls"), ("syscalls",))):
        _rule(rule, ("syscalls", index))


def _rule(value: object, here: Path) -> None:
    rule = _object(value, here)
    for key in rule:
        if key not in RULE_KEYS:
            raise Wrong((*here, key), f'unknown key "{key}"', _near(key, RULE_KEYS))
    if rule.get("name") and rule.get("names"):
        raise Wrong((*here, "name"), "name and names are both given", "use either of them")
    if not rule.get("name") and not rule.get("names"):
        raise Wrong(here, "names is missing", 'add "names": ["…"]')
    if rule.get("name"):
        _text(rule["name"], (*here, "name"))
    for index, name in enumerate(_list(rule.get("names"), (*here, "names"))):
        _text(name, (*here, "names", index))
    if "action" not in rule:
        raise Wrong(here, "action is missing", 'add "action": "SCMP_ACT_ALLOW"')
    _word(rule["action"], (*here, "action"), ACTIONS, "action")
    _errno(rule, ("errno", "errnoRet"), here)
    for index, argument in enumerate(_list(rule.get("args"), (*here, "args"))):
        _argument(argument, (*here, "args", index))
    for key in ("includes", "excludes"):
        _conditions(rule.get(key), (*here, key))


def _argument(value: object, here: Path) -> None:
    argument = _object(value, here)
    for key in ("index", "value", "op"):
        if key not in argument:
            raise Wrong(here, f"{key} is missing")
    _number(argument["index"], (*here, "index"), ARGUMENTS - 1)
    _number(argument["value"], (*here, "value"), LARGEST)
    _number(argument.get("valueTwo", 0), (*here, "valueTwo"), LARGEST)
    _word(argument["op"], (*here, "op"), OPERATORS, "comparison")


def _conditions(value: object, here: Path) -> None:
    if value is None:
        return
    conditions = _object(value, here)
    for key in ("arches", "caps"):
        for index, name in enumerate(_list(conditions.get(key), (*here, key))):
            _text(name, (*here, key, index))
    kernel = conditions.get("minKernel")
    if kernel is not None:
        major, _, minor = _text(kernel, (*here, "minKernel")).partition(".")
        if not major.isdecimal() or not minor.partition(".")[0].isdecimal():
            raise Wrong((*here, "minKernel"), f'"{kernel}" is no kernel version', 'write it as "4.8"')


def _errno(fields: dict[str, object], keys: tuple[str, str], here: Path) -> None:
    name = fields.get(keys[0])
    if name:
        import errno

        known = errno.errorcode.values()
        if _text(name, (*here, keys[0])) not in known:
            raise Wrong((*here, keys[0]), f'unknown errno "{name}"', _near(str(name), known))
    if fields.get(keys[1]) is not None:
        _number(fields[keys[1]], (*here, keys[1]), 4095)


def _object(value: object, here: Path) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Wrong(here, "an object is expected here", "write { … }")
    return value


def _list(value: object, here: Path) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise Wrong(here, f"{here[-1]} must be a list", "write [ … ]")
    return value


def _text(value: object, here: Path) -> str:
    if not isinstance(value, str):
        raise Wrong(here, "a text is expected here", 'write "…"')
    return value


def _word(value: object, here: Path, known: tuple[str, ...], what: str) -> None:
    if _text(value, here) not in known:
        raise Wrong(here, f'unknown {what} "{value}"', _near(str(value), known))


def _number(value: object, here: Path, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise Wrong(here, f"{here[-1]} must be a whole number from 0 to {most}")


def _near(word: str, known: object) -> str:
    from difflib import get_close_matches

    names = [str(name) for name in known]  # type: ignore[attr-defined]
    near = get_close_matches(word, names, 1, 0.6)
    return f"did you mean {near[0]}?" if near else "one of " + ", ".join(sorted(names)[:12])


# ---- the place --------------------------------------------------------------------------------


def _position(text: str, path: Path) -> int:
    """Where the value at `path` begins in a JSON text that is known to be right."""
    import json

    decoder = json.JSONDecoder()
    at = _skip(text, 0)
    for step in path:
        index = 0
        at = _skip(text, at + 1)  # behind the opening bracket
        while True:
            if isinstance(step, str):
                key, end = decoder.raw_decode(text, at)
                start = at
                at = _skip(text, _skip(text, end) + 1)  # behind the colon
                found = key == step
            else:
                start = at
                found = index == step
            if found:
                break
            _, end = decoder.raw_decode(text, at)
            at = _skip(text, end)
            if text[at] != ",":
                return start  # a key given twice: the last one is before us
            at = _skip(text, at + 1)
            index += 1
    return at


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
