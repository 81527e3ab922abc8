"""Runs in words."""

from mcr_bench.bench.words import number_of


def counted(runs: int) -> str:
    """So many runs.

    >>> counted(1), counted(20)
    ('1 run', '20 runs')
    """
    return number_of(runs, "run")
