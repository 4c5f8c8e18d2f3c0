"""Render templates of untrusted task files in Jinja's sandbox, within bounds of time and memory."""
