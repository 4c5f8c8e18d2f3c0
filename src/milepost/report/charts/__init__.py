"""Charts: learning curves, heat maps and bars as Altair values."""
