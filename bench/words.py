"""Numbers of things in words."""


def number_of(count: int, thing: str) -> str:
    """So many things, in the singular where it is one.

    >>> number_of(1, "(seed, fold) pair"), number_of(20, "run")
    ('1 (seed, fold) pair', '20 runs')
    """
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
