"""Executing a parsed template over a value."""

from __future__ import annotations

from remora.frontend.output.template.functions import FUNCTIONS
from remora.frontend.output.template.parser import Branch, Jump, Operand, Output, Parser, Pipeline, Text
from remora.frontend.output.template.values import (
    MISSING,
    Map,
    Missing,
    TemplateError,
    format_value,
    is_true,
    type_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from remora.frontend.output.template.parser import Node


class Template:
    """A template, parsed. Raises TemplateError where the text is wrong."""

    __slots__ = ("text", "nodes")

    def __init__(self, text: str) -> None:
        self.text = text
        self.nodes = Parser(text).parse()

    def render(self, value: object) -> str:
        """The text for one value (the template's dot). Raises TemplateError for a field that is not there."""
        return _Run(self.text, value).render(self.nodes)


class _Jumped(Exception):
    """`break` or `continue`, on its way to its range."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class _Run:
    """One execution: the output so far and the variables in scope."""

    __slots__ = ("text", "variables", "made")

    def __init__(self, text: str, value: object) -> None:
        self.text = text
        self.variables: list[tuple[str, object]] = [("$", value)]
        self.made: list[str] = []

    def render(self, nodes: Sequence[Node]) -> str:
        self._walk(nodes, self.variables[0][1])
        return "".join(self.made)

    def _walk(self, nodes: Sequence[Node], dot: object) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self.made.append(node.text)
            elif isinstance(node, Output):
                value = self._pipeline(node.pipeline, dot)
                if not node.pipeline.names:
                    self.made.append("<no value>" if value is None else format_value(value))
            elif isinstance(node, Jump):
                raise _Jumped(node.kind)
            else:
                known = len(self.variables)
                self._branch(node, dot)
                del self.variables[known:]

    def _branch(self, branch: Branch, dot: object) -> None:
        if branch.kind == "range":
            self._range(branch, dot)
            return
        value = self._pipeline(branch.pipeline, dot)
        if is_true(value):
            self._walk(branch.body, value if branch.kind == "with" else dot)
        else:
            self._walk(branch.otherwise, dot)

    def _range(self, branch: Branch, dot: object) -> None:
        pipeline = branch.pipeline
        value = self._commands(pipeline, dot)
        pairs: Iterable[tuple[object, object]]
        if isinstance(value, (list, tuple)):
            pairs = enumerate(value)
        elif isinstance(value, dict):
            pairs = [(key, value[key]) for key in sorted(value) if not callable(value[key])]
        elif value is None or isinstance(value, Missing):
            pairs = []
        elif isinstance(value, int) and not isinstance(value, bool):
            pairs = [(number, number) for number in range(value)]
        else:
            raise TemplateError(self.text, pipeline.at, f"range can't go over {type_name(value)}")
        empty = True
        known = len(self.variables)
        for key, item in pairs:
            empty = False
            found = (item,) if len(pipeline.names) == 1 else (key, item)
            for name, set_to in zip(pipeline.names, found, strict=False):
                self._set(name, set_to, pipeline.declares)
            try:
                self._walk(branch.body, item)
            except _Jumped as jumped:
                if jumped.kind == "break":
                    break
            finally:
                del self.variables[known:]
        if empty:
            self._walk(branch.otherwise, dot)

    def _set(self, name: str, value: object, declares: bool) -> None:
        if declares:
            self.variables.append((name, value))
            return
        for position in range(len(self.variables) - 1, -1, -1):
            if self.variables[position][0] == name:
                self.variables[position] = (name, value)
                return

    def _pipeline(self, pipeline: Pipeline, dot: object) -> object:
        value = self._commands(pipeline, dot)
        for name in pipeline.names:
            self._set(name, value, pipeline.declares)
        return value

    def _commands(self, pipeline: Pipeline, dot: object) -> object:
        value: object = None
        for position, command in enumerate(pipeline.commands):
            value = self._command(command, dot, [value] if position else [])
        return value

    def _command(self, words: Sequence[Operand], dot: object, piped: list[object]) -> object:
        first = words[0]
        if first.kind == "function" and not first.fields:
            return self._function(str(first.value), words, dot, piped)
        arguments = [self._operand(word, dot) for word in words[1:]] + piped
        return self._operand(first, dot, arguments)

    def _function(self, name: str, words: Sequence[Operand], dot: object, piped: list[object]) -> object:
        if name in ("and", "or"):
            value: object = None
            if len(words) == 1 and not piped:
                raise TemplateError(self.text, words[0].at, f"{name} needs a value")
            for word in words[1:]:
                value = self._operand(word, dot)
                if is_true(value) == (name == "or"):
                    return value
            return piped[0] if piped else value
        arguments = [self._operand(word, dot) for word in words[1:]] + piped
        try:
            return FUNCTIONS[name](*arguments)
        except (ValueError, TypeError) as error:
            problem = str(error)
            if "positional argument" in problem:
                problem = f"wrong number of arguments: {len(arguments)}"
            raise TemplateError(self.text, words[0].at, f"error calling {name}: {problem}") from None

    def _operand(self, operand: Operand, dot: object, arguments: Sequence[object] = ()) -> object:
        value: object
        if operand.kind == "literal":
            value = operand.value
        elif operand.kind == "dot":
            value = dot
        elif operand.kind == "variable":
            value = next(found for name, found in reversed(self.variables) if name == operand.value)
        elif operand.kind == "function":
            value = self._function(str(operand.value), [operand], dot, [])
        else:
            assert isinstance(operand.value, Pipeline)
            value = self._pipeline(operand.value, dot)
        last = len(operand.fields) - 1
        taken = False
        for position, field in enumerate(operand.fields):
            value = self._field(operand, value, field)
            if callable(value):
                try:
                    value = value(*(arguments if position == last else ()))
                except TypeError:
                    raise TemplateError(self.text, operand.at, f"wrong arguments for {field}") from None
                taken = position == last
        if arguments and not taken:
            called = "." + ".".join(operand.fields) if operand.fields else "what is not a function"
            raise TemplateError(self.text, operand.at, f"can't give an argument to {called}")
        return value

    def _field(self, operand: Operand, value: object, field: str) -> object:
        if isinstance(value, Map):
            return value.get(field, MISSING)
        if isinstance(value, dict):
            if field in value:
                found: object = value[field]
                return found
            raise TemplateError(self.text, operand.at, f"no field {field!r}{_near(field, value)}")
        if value is None or isinstance(value, Missing):
            raise TemplateError(self.text, operand.at, f"there is nothing that could have a field {field!r}")
        raise TemplateError(self.text, operand.at, f"no field {field!r} in a {type_name(value)}")


def _near(field: str, value: dict[str, object]) -> str:
    from difflib import get_close_matches

    lowered = {name.lower(): name for name in value}
    near = get_close_matches(field.lower(), list(lowered), 1, 0.6)
    return f" (did you mean {lowered[near[0]]}?)" if near else ""
