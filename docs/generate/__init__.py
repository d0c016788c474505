"""Pages that are made at build time, as Markdown. Needs no mkdocs (see docs/hooks.py)."""
