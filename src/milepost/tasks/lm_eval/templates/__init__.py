"""Templates of task files that nobody has vouched for: rendered in Jinja's sandbox, within bounds."""
