"""Runs in words."""


def counted(runs: int) -> str:
    """So many runs.

    >>> counted(1), counted(20)
    ('1 run', '20 runs')
    """
    return "1 run" if runs == 1 else f"{runs} runs"
