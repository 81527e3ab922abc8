"""Numbers as texts: of things in words, and of measurements with decimals."""

LONG = 1e9  # from here on a number has an exponent: the digits of a run that diverged would fill lines


def number_of(count: int, thing: str) -> str:
    """So many things, in the singular where it is one.

    >>> number_of(1, "(seed, fold) pair"), number_of(20, "run")
    ('1 (seed, fold) pair', '20 runs')
    """
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def decimal(value: float, digits: int, sign: str = "") -> str:
    """A number with so many decimals, and with an exponent where it is very large. sign: as in format strings.

    >>> decimal(-0.06, 1), decimal(1e30, 1)
    ('-0.1', '1.0e+30')
    """
    return f"{value:{sign}.{digits}{'f' if abs(value) < LONG else 'e'}}"
