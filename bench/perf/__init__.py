"""What `make perf` measures: times taken in turns on one device, the numbers made of them, and their page."""
