"""Markdown that several pages share."""

WIDE = """---
hide: [toc]
---

"""
"""Beginning of a page of wide tables: without a table of contents, they have its space too."""
