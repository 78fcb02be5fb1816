"""Template text to tokens. Every token knows where it stands, for messages; no regular expressions (their import
costs more than a template)."""

from __future__ import annotations

from remora.frontend.output.template.values import TemplateError

TEXT, OPEN, CLOSE, END = "text", "open", "close", "end"
FIELD, DOT, VARIABLE, WORD, LITERAL, OPERATOR = "field", "dot", "variable", "word", "literal", "operator"
SPACE = " \t\r\n"
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
EXPONENTS = ("e+", "e-", "E+", "E-")
HEX_ESCAPES = {"x": 2, "u": 4, "U": 8}


class Token:
    """kind, its value, where it begins, and whether white space stands before it (`.A .B` is not `.A.B`)."""

    __slots__ = ("kind", "value", "at", "spaced")

    def __init__(self, kind: str, value: object, at: int, spaced: bool = False) -> None:
        self.kind = kind
        self.value = value
        self.at = at
        self.spaced = spaced


def tokens(text: str) -> list[Token]:
    """All tokens of a template; an END token closes the list."""
    found: list[Token] = []
    at = 0
    trim = False
    while True:
        start = text.find("{{", at)
        literal = text[at:] if start < 0 else text[at:start]
        if trim:
            literal = literal.lstrip(SPACE)
        if start < 0:
            if literal:
                found.append(Token(TEXT, literal, at))
            found.append(Token(END, None, len(text)))
            return found
        inside = start + 2
        if text[inside : inside + 1] == "-" and text[inside + 1 : inside + 2] in tuple(SPACE):
            literal = literal.rstrip(SPACE)
            inside += 2
        if literal:
            found.append(Token(TEXT, literal, at))
        body = _skip_space(text, inside)
        if text.startswith("/*", body):
            at, trim = _comment(text, start, body)
            continue
        found.append(Token(OPEN, "{{", start))
        at, trim = _action(text, start, inside, found)


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in SPACE:
        at += 1
    return at


def _comment(text: str, start: int, body: int) -> tuple[int, bool]:
    end = text.find("*/", body)
    if end < 0:
        raise TemplateError(text, start, "unclosed comment")
    at = end + 2
    trim = text[at : at + 1] in tuple(SPACE) and text[at + 1 : at + 2] == "-"
    at += 2 if trim else 0
    if not text.startswith("}}", at):
        raise TemplateError(text, start, "a comment must end with */}}")
    return at + 2, trim


def _action(text: str, start: int, at: int, found: list[Token]) -> tuple[int, bool]:
    """The tokens of one action; where the text goes on, and whether its white space is to be trimmed."""
    spaced = False
    while True:
        if at >= len(text):
            raise TemplateError(text, start, "unclosed action: }} is missing")
        char = text[at]
        if text.startswith("}}", at):
            found.append(Token(CLOSE, "}}", at))
            return at + 2, False
        if char in SPACE:
            if text.startswith("-}}", at + 1):
                found.append(Token(CLOSE, "}}", at + 1))
                return at + 4, True
            spaced = True
            at += 1
            continue
        token, at = _token(text, at)
        token.spaced = spaced
        spaced = False
        found.append(token)


def _is_name(char: str) -> bool:
    return char.isalnum() or char == "_"


def _name_end(text: str, at: int) -> int:
    while at < len(text) and _is_name(text[at]):
        at += 1
    return at


def _token(text: str, at: int) -> tuple[Token, int]:
    char = text[at]
    following = text[at + 1 : at + 2]
    if char in "\"'`":
        return _quoted(text, at)
    if char.isdigit() or (char in "+-." and following.isdigit()):
        return _number(text, at)
    if char == ".":
        end = _name_end(text, at + 1)
        return (Token(FIELD, text[at + 1 : end], at) if end > at + 1 else Token(DOT, ".", at)), end
    if char == "$":
        end = _name_end(text, at + 1)
        return Token(VARIABLE, text[at:end], at), end
    if _is_name(char):
        end = _name_end(text, at)
        return Token(WORD, text[at:end], at), end
    if text.startswith(":=", at):
        return Token(OPERATOR, ":=", at), at + 2
    if char in "|(),=":
        return Token(OPERATOR, char, at), at + 1
    raise TemplateError(text, at, f"unexpected character {char!r}")


def _number(text: str, at: int) -> tuple[Token, int]:
    end = at + 1
    while end < len(text) and (_is_name(text[end]) or text[end] == "." or text[end - 1 : end + 1] in EXPONENTS):
        end += 1
    word = text[at:end]
    try:
        return Token(LITERAL, int(word, 0), at), end
    except ValueError:
        pass
    try:
        return Token(LITERAL, float(word), at), end
    except ValueError:
        raise TemplateError(text, at, f"bad number {word!r}") from None


def _quoted(text: str, at: int) -> tuple[Token, int]:
    quote = text[at]
    if quote == "`":
        end = text.find("`", at + 1)
        if end < 0:
            raise TemplateError(text, at, "unterminated raw string")
        return Token(LITERAL, text[at + 1 : end], at), end + 1
    made: list[str] = []
    position = at + 1
    while True:
        char = text[position : position + 1]
        if char in ("", "\n"):
            raise TemplateError(text, at, "unterminated string")
        position += 1
        if char == quote:
            break
        if char == "\\":
            char = text[position : position + 1]
            position += 1
            if char in ESCAPES:
                char = ESCAPES[char]
            else:
                digits = HEX_ESCAPES.get(char, 3)
                start = position if char in HEX_ESCAPES else position - 1
                try:
                    char = chr(int(text[start : start + digits], 16 if char in HEX_ESCAPES else 8))
                except (ValueError, OverflowError):
                    raise TemplateError(text, at, "bad escape in a string") from None
                position = start + digits
        made.append(char)
    value = "".join(made)
    if quote == "'":
        if len(value) != 1:
            raise TemplateError(text, at, "a string needs double quotes")
        return Token(LITERAL, ord(value), at), position
    return Token(LITERAL, value, at), position
