"""Rows as something to look at: tables in the terminal, Markdown, files, charts and pages."""
