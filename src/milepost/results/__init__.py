"""Results as commands, reports and pages use them: `store` says what is there, `analysis` what it means.

`selection` gives the rows of tables and charts, `training` what each curve shows; `signal`, `perplexity` and
`leaderboard` belong to the commands of these names. Everything takes a `ResultsIndex` and returns values.
"""

from milepost.results.selection import Selection, select_rows

__all__ = ["Selection", "select_rows"]
