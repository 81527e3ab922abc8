"""The parts of `make perf`: each module measures one, with the function that has its name."""
