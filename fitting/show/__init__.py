"""Pages: the results folder, the report, the viewers."""
