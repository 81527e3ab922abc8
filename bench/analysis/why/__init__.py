"""Why the methods of a comparison score as they do: the diagnostics that every run logs, as tables."""
