"""The metrics of a run that a clock or a meter of memory gives, which no two runs share to the last bit."""

MEASURED = ("cost/seconds", "cost/seconds_per_step", "cost/diagnostics_seconds", "cost/peak_memory_mib")
