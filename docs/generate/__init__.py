"""Pages of the documentation that are made at build time, as Markdown; needs no mkdocs (see docs/hooks.py)."""
