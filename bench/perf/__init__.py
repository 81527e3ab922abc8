"""What is measured by `make perf`: ratios within one run."""
