"""`--format` of a command that prints a list: a table, JSON, or a template for each row."""

from __future__ import annotations

from remora.frontend.output import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def unescape(form: str) -> str:
    """`\\t` and `\\n` typed as two characters, as a shell's single quotes leave them."""
    return form.replace("\\t", "\t").replace("\\n", "\n")


def render(
    form: str,
    rows: Sequence[Mapping[str, object]],
    headings: Mapping[str, str],
    heading: bool = True,
) -> str:
    """Rows through a Go template, one line each; with `table ` in front the columns (split at tabs) are aligned
    under headings. `headings` gives the heading of a field where it is not the field's name in capitals."""
    from remora.frontend.output.template.evaluate import Template

    as_table = form.startswith(("table ", "table\t"))
    if as_table:  # a blank between two actions parts columns as well, as in Podman
        form = form[6:].lstrip(" ").replace("}} {{", "}}\t{{")
    template = Template(unescape(form))
    lines = [template.render(row) for row in rows]
    if not as_table:
        return "".join(line if line.endswith("\n") else line + "\n" for line in lines)
    if heading:
        names = rows[0] if rows else headings
        lines.insert(0, template.render(_headings(names, headings)))
    return text.table([line.removesuffix("\n").split("\t") for line in lines])


def _headings(names: Mapping[str, object], headings: Mapping[str, str]) -> dict[str, object]:
    return {name: headings.get(name, _capitals(name)) for name in {**names, **headings}}


def _capitals(name: str) -> str:
    """`RunningFor` is `RUNNING FOR`, `ImageID` is `IMAGE ID`."""
    made = ""
    for position, char in enumerate(name):
        if position and char.isupper() and not name[position - 1].isupper():
            made += " "
        made += char.upper()
    return made


def whole(form: str, value: Mapping[str, object]) -> str:
    """One value as indented JSON (`json`) or through a Go template."""
    if form == "json":
        from json import dumps

        return dumps(value, indent=2, ensure_ascii=False)
    from remora.frontend.output.template.evaluate import Template

    return Template(unescape(form)).render(value)
