"""Tokens to a tree. The grammar is that of Go's text/template without named templates.

list     = { text | action }
pipeline = [ variable [ "," variable ] ( ":=" | "=" ) ] command { "|" command }
command  = operand { operand }                 (separated by white space)
operand  = ( literal | "." | .field | $variable | function | "(" pipeline ")" ) { .field }
"""

from __future__ import annotations

from remora.frontend.output.template import lexer
from remora.frontend.output.template.functions import FUNCTIONS
from remora.frontend.output.template.values import TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.output.template.lexer import Token

CONSTANTS: dict[str, object] = {"true": True, "false": False, "nil": None}
UNSUPPORTED = ("define", "template", "block")


class Operand:
    """One word of a command. kind: literal, dot, variable, function or pipeline; fields: the chain behind it."""

    __slots__ = ("kind", "value", "fields", "at")

    def __init__(self, kind: str, value: object, at: int) -> None:
        self.kind = kind
        self.value = value
        self.fields: list[str] = []
        self.at = at


class Pipeline:
    """Commands, each one's value the last argument of the next; `names` are set to the result."""

    __slots__ = ("commands", "names", "declares", "at")

    def __init__(self, at: int) -> None:
        self.commands: list[list[Operand]] = []
        self.names: list[str] = []
        self.declares = False
        self.at = at


class Text:
    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Output:
    __slots__ = ("pipeline",)

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline


class Jump:
    """`break` or `continue`."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Branch:
    """`if`, `with` or `range`."""

    __slots__ = ("kind", "pipeline", "body", "otherwise")

    def __init__(self, kind: str, pipeline: Pipeline, body: Sequence[Node], otherwise: Sequence[Node]) -> None:
        self.kind = kind
        self.pipeline = pipeline
        self.body = body
        self.otherwise = otherwise


Node = Text | Output | Jump | Branch


class Parser:
    """One template being parsed."""

    __slots__ = ("text", "tokens", "index", "scope", "loops")

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = lexer.tokens(text)
        self.index = 0
        self.scope = ["$"]
        self.loops = 0

    def parse(self) -> list[Node]:
        """The whole template."""
        nodes, end = self._list()
        if end is not None:
            raise self._error(end, f"unexpected {{{{{end.value}}}}}")
        return nodes

    def _error(self, token: Token, problem: str) -> TemplateError:
        return TemplateError(self.text, token.at, problem)

    def _peek(self) -> Token:
        return self.tokens[self.index]

    def _next(self) -> Token:
        token = self.tokens[self.index]
        self.index += 1
        return token

    def _close(self, after: str) -> None:
        token = self._next()
        if token.kind != lexer.CLOSE:
            raise self._error(token, f"unexpected {token.value!s} after {after}")

    def _list(self) -> tuple[list[Node], Token | None]:
        """Nodes up to `end`, `else` or the end of the text (None); the closing word's token comes back."""
        nodes: list[Node] = []
        while True:
            token = self._next()
            if token.kind == lexer.END:
                return nodes, None
            if token.kind == lexer.TEXT:
                nodes.append(Text(str(token.value)))
                continue
            first = self._peek()
            word = first.value if first.kind == lexer.WORD else None
            if word in ("end", "else"):
                self.index += 1
                return nodes, first
            if word in ("if", "with", "range"):
                self.index += 1
                nodes.append(self._branch(first))
            elif word in ("break", "continue"):
                self.index += 1
                if not self.loops:
                    raise self._error(first, f"{word} outside of range")
                self._close(str(word))
                nodes.append(Jump(str(word)))
            elif word in UNSUPPORTED:
                raise self._error(first, f"{word} is not supported in a format")
            else:
                nodes.append(Output(self._pipeline(lexer.CLOSE)))

    def _branch(self, opener: Token) -> Branch:
        kind = str(opener.value)
        known = len(self.scope)
        pipeline = self._pipeline(lexer.CLOSE, ranged=kind == "range")
        self.loops += kind == "range"
        body, end = self._list()
        self.loops -= kind == "range"
        otherwise: list[Node] = []
        if end is not None and end.value == "else":
            following = self._peek()
            if following.kind == lexer.WORD and following.value in ("if", "with") and kind != "range":
                self.index += 1
                otherwise = [self._branch(following)]
                del self.scope[known:]
                return Branch(kind, pipeline, body, otherwise)
            self._close("else")
            otherwise, end = self._list()
            if end is not None and end.value == "else":
                raise self._error(end, "a second else")
        if end is None:
            raise self._error(opener, f"{kind} without {{{{end}}}}")
        self._close("end")
        del self.scope[known:]
        return Branch(kind, pipeline, body, otherwise)

    def _pipeline(self, closer: str, ranged: bool = False) -> Pipeline:
        pipeline = Pipeline(self._peek().at)
        self._declaration(pipeline, ranged)
        while True:
            command = self._command()
            token = self._next()
            if not command:
                raise self._error(token, "a value is missing")
            if pipeline.commands and command[0].kind not in ("function", "dot", "variable", "pipeline"):
                raise TemplateError(self.text, command[0].at, "a pipeline can't go on with a constant")
            pipeline.commands.append(command)
            if token.kind == lexer.OPERATOR and token.value == "|":
                continue
            if token.kind == lexer.CLOSE and closer == lexer.CLOSE:
                break
            if token.kind == lexer.OPERATOR and token.value == ")" and closer == ")":
                break
            raise self._error(token, "unclosed (" if closer == ")" else f"unexpected {token.value!s}")
        self.scope += [name for name in pipeline.names if pipeline.declares]
        return pipeline

    def _declaration(self, pipeline: Pipeline, ranged: bool) -> None:
        """`$x :=`, `$x =`, and for range `$i, $x :=`."""
        ahead = self.tokens[self.index : self.index + 4]
        if ahead[0].kind != lexer.VARIABLE or len(ahead) < 2 or ahead[1].value not in (":=", "=", ","):
            return
        names = [str(ahead[0].value)]
        operator = ahead[1]
        self.index += 2
        if operator.value == ",":
            if not ranged or len(ahead) < 4 or ahead[2].kind != lexer.VARIABLE or ahead[3].value not in (":=", "="):
                raise self._error(operator, "two variables can only be set by range")
            names.append(str(ahead[2].value))
            operator = ahead[3]
            self.index += 2
        pipeline.names = names
        pipeline.declares = operator.value == ":="
        if not pipeline.declares:
            for name in names:
                if name not in self.scope:
                    raise self._error(ahead[0], f"undefined variable {name}")

    def _command(self) -> list[Operand]:
        words: list[Operand] = []
        while True:
            operand = self._operand()
            if operand is None:
                return words
            if words and not self.tokens[self.index - 1].spaced and operand.kind == "dot" and not operand.fields:
                raise TemplateError(self.text, operand.at, "unexpected .")
            words.append(operand)

    def _operand(self) -> Operand | None:
        token = self._peek()
        if token.kind == lexer.LITERAL:
            made = Operand("literal", token.value, token.at)
        elif token.kind == lexer.DOT:
            made = Operand("dot", None, token.at)
        elif token.kind == lexer.FIELD:
            made = Operand("dot", None, token.at)
            made.fields.append(str(token.value))
        elif token.kind == lexer.VARIABLE:
            if token.value not in self.scope:
                raise self._error(token, f"undefined variable {token.value!s}")
            made = Operand("variable", token.value, token.at)
        elif token.kind == lexer.WORD:
            word = str(token.value)
            if word in CONSTANTS:
                made = Operand("literal", CONSTANTS[word], token.at)
            elif word in FUNCTIONS:
                made = Operand("function", word, token.at)
            else:
                raise self._error(token, f'function "{word}" not defined')
        elif token.kind == lexer.OPERATOR and token.value == "(":
            self.index += 1
            made = Operand("pipeline", self._pipeline(")"), token.at)
            self.index -= 1
        else:
            return None
        self.index += 1
        while self._peek().kind == lexer.FIELD and not self._peek().spaced:
            made.fields.append(str(self._next().value))
        return made
