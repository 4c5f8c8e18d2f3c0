"""Render a table as CSV."""

from __future__ import annotations

import csv
import io

from milepost.report.table import Table


def csv_text(table: Table) -> str:
    """Return a line with the names of the columns and a line per row."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows([cell.text for cell in row] for row in table.rows)
    return text.getvalue()
