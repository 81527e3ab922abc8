"""The table of a paper: methods as rows, datasets as columns, in LaTeX, Markdown, CSV and HTML."""
