"""Go templates as users of Docker and Podman write them for `--format`, evaluated over plain Python values.

The language is that of Go's text/template (https://pkg.go.dev/text/template): actions, pipelines, variables,
if/else, range, with, break, continue, comments, `{{-` and `-}}`, and the predefined functions, with the few that
Docker and Podman add (json, join, split, lower, upper, title, pad, truncate, println). Left out are `define`,
`template` and `block`, for which a single `--format` has no use.

Values: None, bool, int, float, str, list, dict. A plain dict is a struct (a field it has not is an error); a
`Map` is a map with free keys (a key it has not is `<no value>`). A callable in a dict is a method.

`evaluate.Template` is what others use, and `values` for maps and times; nothing is imported here, since a table
needs none of it.
"""
