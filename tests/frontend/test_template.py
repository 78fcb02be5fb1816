"""Go templates: the values and texts that Go's text/template, Docker and Podman give for the same input."""

from __future__ import annotations

import pytest

from remora.frontend.output.rows import render
from remora.frontend.output.template.evaluate import Template
from remora.frontend.output.template.values import Map, TemplateError, Time

DATA: dict[str, object] = {
    "Id": "abc123",
    "Name": "web",
    "State": {"Pid": 42, "Running": True, "ExitCode": 0, "Error": "", "StartedAt": Time("2026-01-02T03:04:05Z", "go")},
    "Labels": Map({"b": "2", "a": "1", "with space": "x"}),
    "Env": ["A=1", "B=2"],
    "Empty": [],
    "None": None,
    "Ratio": 0.5,
    "Mounts": [{"Source": "/a", "Target": "/b"}, {"Source": "/c", "Target": "/d"}],
    "Label": lambda key: f"label {key}",
}

GOOD = [
    ("plain", "plain"),
    ("{{.Id}}", "abc123"),
    ("{{ .State.Pid }}", "42"),
    ("{{.State.Running}}", "true"),
    ("{{.State.StartedAt}}", "go"),
    ("{{json .State.StartedAt}}", '"2026-01-02T03:04:05Z"'),
    ("{{.Env}}", "[A=1 B=2]"),
    ("{{.Labels}}", "map[a:1 b:2 with space:x]"),
    ("{{.Labels.a}}", "1"),
    ("{{.Labels.nope}}", "<no value>"),
    ("{{.None}}", "<no value>"),
    ('{{index .Labels "with space"}}', "x"),
    ('{{index .Labels "nope"}}|', "|"),
    ("{{index .Env 1}}", "B=2"),
    ("{{(index .Mounts 1).Target}}", "/d"),
    ("{{with index .Mounts 0}}{{.Source}}{{end}}", "/a"),
    ("{{json .Env}}", '["A=1","B=2"]'),
    ("{{json .Mounts}}", '[{"Source":"/a","Target":"/b"},{"Source":"/c","Target":"/d"}]'),
    ("{{.Env | json}}", '["A=1","B=2"]'),
    ("{{json .None}}", "null"),
    ('{{join .Env ","}}', "A=1,B=2"),
    ('{{.Name | upper | printf "%s-%d" .Id | len}}', "22"),
    ('{{printf "%s:%d:%v:%q:%t" .Name .State.Pid .Env .Id .State.Running}}', 'web:42:[A=1 B=2]:"abc123":true'),
    ('{{printf "%5s|%-5s|%05d|%x|%.2f|%%" .Name .Name 42 255 .Ratio}}', "  web|web  |00042|ff|0.50|%"),
    ('{{printf "%*d" 5 42}}', "   42"),
    ('{{printf "%d"}}', "%!d(MISSING)"),
    ('{{printf "%d" .Name}}', "%!d(string=web)"),
    ("{{range .Env}}[{{.}}]{{end}}", "[A=1][B=2]"),
    ("{{range $i, $e := .Env}}{{$i}}={{$e}} {{end}}", "0=A=1 1=B=2 "),
    ("{{range $k, $v := .Labels}}{{$k}}:{{$v}};{{end}}", "a:1;b:2;with space:x;"),
    ("{{range .Empty}}x{{else}}none{{end}}", "none"),
    ("{{range .None}}x{{else}}none{{end}}", "none"),
    ("{{range .Env}}{{.}}{{break}}{{end}}", "A=1"),
    ('{{range .Env}}{{if eq . "A=1"}}{{continue}}{{end}}{{.}}{{end}}', "B=2"),
    ("{{range .Mounts}}{{.Source}}:{{.Target}} {{end}}", "/a:/b /c:/d "),
    ("{{range .Mounts}}{{$.Name}}{{end}}", "webweb"),
    ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
    ("{{if .State.Error}}bad{{else if .State.Running}}up{{else}}down{{end}}", "up"),
    ("{{if and .State.Running (eq .State.ExitCode 0)}}fine{{end}}", "fine"),
    ("{{if or .State.Error .Empty}}a{{else}}b{{end}}", "b"),
    ("{{if not .State.Error}}ok{{end}}", "ok"),
    ("{{and 1 0}}{{or 0 2}}", "02"),
    ('{{or .State.Error "none"}}', "none"),
    ("{{and .None .None.Field}}", "<no value>"),
    ('{{eq .Name "a" "web"}} {{ne 1 2}} {{lt 1 2}}', "true true true"),
    ("{{le 2 2}} {{gt 1 2}} {{ge 2 3}}", "true false false"),
    ("{{with .State}}{{.Pid}}{{end}}", "42"),
    ("{{with .None}}x{{else}}nothing{{end}}", "nothing"),
    ("{{with $x := .State.Pid}}{{$x}}{{end}}", "42"),
    ("{{$x := .Id}}{{$x}}", "abc123"),
    ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
    ("{{$x := 1}}{{range .Env}}{{$x = .}}{{end}}{{$x}}", "B=2"),
    ("a {{- .Id -}} b", "aabc123b"),
    ("a\n{{- /* a comment */ -}}\nb", "ab"),
    ("{{/* a comment */}}x", "x"),
    ("{{.Id}}\n\t{{- .Name}}", "abc123web"),
    ("{{slice .Id 1 3}} {{slice .Id 2}} {{len .Env}} {{len .Labels}}", "bc c123 2 3"),
    ('{{lower "ABC"}} {{title "two words"}} {{truncate .Id 3}} [{{pad .Name 1 2}}]', "abc Two Words abc [ web  ]"),
    ('{{split "a,b" ","}} {{index (split .Id "c") 1}}', "[a b] 123"),
    ('{{print "a" 1 2 "b"}} {{println 1 2}}', "a1 2b 1 2\n"),
    ("{{`raw \\n`}}{{\"tab\\t\\u00e9\\x41\"}}{{'a'}}", "raw \\ntab\té" + "A97"),
    ('{{html "<&>"}} {{urlquery "a b/"}}', "&lt;&amp;&gt; a+b%2F"),
    ('{{.Label "x"}}', "label x"),
    ("{{0x10}} {{1.50}} {{1e3}} {{-3}} {{1000000.0}}", "16 1.5 1000 -3 1000000"),
    ("{{true}} {{nil | json}}", "true null"),
    ('{{.State.Pid | printf "%d"}}{{/* c */}}', "42"),
    ("{{. | json | len | lt 10}}", "true"),
    ("}} { {", "}} { {"),
]

BAD = [
    ("{{.State.Nope}}", 1, 3, "no field 'Nope'"),
    ("{{.state}}", 1, 3, "did you mean State?"),
    ("ab\n{{.Nope}}", 2, 3, "no field 'Nope'"),
    ("{{.State.Pid", 1, 1, "unclosed action"),
    ("{{nofunc .Id}}", 1, 3, 'function "nofunc" not defined'),
    ("{{if .Id}}x", 1, 6, "without {{end}}"),
    ("{{end}}", 1, 3, "unexpected {{end}}"),
    ("{{}}", 1, 3, "a value is missing"),
    ("{{.Id |}}", 1, 8, "a value is missing"),
    ("{{$x}}", 1, 3, "undefined variable $x"),
    ("{{range .Id}}{{end}}", 1, 9, "range can't go over string"),
    ("{{index .Env 7}}", 1, 3, "index out of range: 7"),
    ("{{eq .Id 1}}", 1, 3, "incompatible types"),
    ("{{.Id.Foo}}", 1, 3, "no field 'Foo' in a string"),
    ("{{.None.Foo}}", 1, 3, "nothing that could have a field"),
    ('{{"open}}', 1, 3, "unterminated string"),
    ("{{(.Id}}", 1, 7, "unclosed ("),
    ("{{len}}", 1, 3, "wrong number of arguments"),
    ("{{len 3}}", 1, 3, "error calling len"),
    ("{{.Id 3}}", 1, 3, "can't give an argument"),
    ('{{template "x"}}', 1, 3, "not supported"),
    ("{{break}}", 1, 3, "outside of range"),
    ("{{/* x}}", 1, 1, "unclosed comment"),
    ("{{.Id ? 1}}", 1, 7, "unexpected character"),
    ("{{1 | 2}}", 1, 7, "can't go on with a constant"),
]


@pytest.mark.parametrize(("text", "expected"), GOOD)
def test_template_gives_what_go_gives(text: str, expected: str) -> None:
    assert Template(text).render(DATA) == expected


@pytest.mark.parametrize(("text", "line", "column", "problem"), BAD)
def test_wrong_template_is_refused_with_its_place(text: str, line: int, column: int, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(text).render(DATA)
    assert problem in caught.value.message
    assert caught.value.message.startswith("template:")
    assert "\n" not in str(caught.value).split(" at <")[0]
    where = caught.value.message.split(":")[1:3]
    assert where[0] == str(line)
    assert abs(int(where[1]) - column) <= 6


def test_table_prefix_aligns_columns_under_headings() -> None:
    rows = [{"ID": "1", "RunningFor": "x" * 20}, {"ID": "22", "RunningFor": "y"}]
    assert render("table {{.RunningFor}}\\t{{.ID}}", rows, {"ID": "CONTAINER ID"}) == (
        "RUNNING FOR           CONTAINER ID\nxxxxxxxxxxxxxxxxxxxx  1\ny                     22\n"
    )


def test_template_without_table_prints_one_line_for_each_row() -> None:
    rows = [{"ID": "1"}, {"ID": "2"}]
    assert render("{{.ID}}\\tx", rows, {}) == "1\tx\n2\tx\n"
    assert render("{{.ID}}", [], {}) == ""
