"""Reports on what changed from one model to others: records, words, tables, charts, pages."""
