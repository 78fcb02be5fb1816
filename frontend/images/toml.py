"""TOML as the containers tools' configuration files use it.

`tomllib` costs 6 ms to import, a tenth of a whole `run`. A file made of tables and `key = value` lines with plain
texts, booleans, whole numbers and lists of texts is read here; at the first line that is anything else the small
reader gives up and tomllib reads the whole file.
"""

from __future__ import annotations

BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def loads(text: str) -> dict[str, object]:
    """The document as nested dicts; ValueError (tomllib.TOMLDecodeError) when it is not TOML."""
    document = _plain(text)
    if document is None:
        import tomllib

        document = tomllib.loads(text)
    return document


def _plain(text: str) -> dict[str, object] | None:
    document: dict[str, object] = {}
    table = document
    headers: set[str] = set()
    # The files as they are installed consist of comments: 700 lines with ten that count.
    lines = iter([line for raw in text.split("\n") if (line := raw.strip()) and line[0] != "#"])
    for line in lines:
        if line[0] == "[":
            found = _table(document, line)
            if found is None or line in headers:
                return None
            headers.add(line)
            table = found
            continue
        key, equals, rest = line.partition("=")
        key = key.strip()
        if len(key) > 2 and key[0] == key[-1] == '"' and "\\" not in key:
            key = key[1:-1]
        elif not BARE.issuperset(key):
            return None
        if not equals or not key or '"' in key or key in table:
            return None
        rest = rest.strip()
        if rest[:1] == "[":
            while rest[-1] != "]" and "#" not in rest:
                more = next(lines, None)
                if more is None or rest.count('"') % 2:
                    return None
                rest += " " + more
        value = _value(rest)
        if value is None:
            return None
        table[key] = value
    return document


def _table(document: dict[str, object], line: str) -> dict[str, object] | None:
    """The table a `[a.b]` line opens; None for an array of tables or anything odd."""
    if not line.endswith("]"):
        return None
    table = document
    for part in line[1:-1].split("."):
        if not part or not BARE.issuperset(part):
            return None
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            return None
        table = inner
    return table


def _value(text: str) -> object:
    """A text, boolean, number or list of texts; None when it is something else."""
    if not text or "\\" in text or "'" in text or "#" in text:
        return None
    quotes = text.count('"')
    if text[0] == '"':
        return text[1:-1] if quotes == 2 and text[-1] == '"' and len(text) > 1 else None
    if text[0] == "[":
        pieces = text[1:-1].split('"')
        if text[-1] != "]" or quotes % 2 or any(piece.strip() not in ("", ",") for piece in pieces[::2]):
            return None
        between = [piece.strip() for piece in pieces[2:-1:2]]
        return pieces[1::2] if all(piece == "," for piece in between) and not pieces[0].strip() else None
    if text in ("true", "false"):
        return text == "true"
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and (digits == "0" or digits[0] != "0"):
        return int(text)
    return None
