"""How things are shown: tables, templates, sizes, times."""
