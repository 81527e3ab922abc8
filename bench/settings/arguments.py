"""Values from texts of the command line: seeds, comma lists and settings."""

import re
from collections.abc import Iterable

from mcr_bench.bench.errors import UserError

MOST_SEEDS, LARGEST_SEED = 10_000, 2**63 - 1
LONGEST_SEED = 40  # digits, with zeros before the number; Python refuses to read thousands of them
UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
LONGEST = 10_000 * 86_400  # seconds that a limit may have


def parse_list(text: str) -> list[str]:
    """The entries of a comma list, each once.

    >>> parse_list("a, b,a")
    ['a', 'b']
    """
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def parse_names(option: str, text: str) -> list[str]:
    """The entries of the comma list given to `option`, each once. UserError for an empty list.

    >>> parse_names("--methods", "joint,mcr")
    ['joint', 'mcr']
    """
    names = parse_list(text)
    if not names:
        raise UserError(f"{option} '{text}' contains no name. Give a name, or several with commas between them.")
    return names


def parse_seeds(text: str) -> list[int]:
    """The seeds that `--seeds` means: N is the seeds 0 to N - 1, and a text with a comma is a list of seeds.

    >>> parse_seeds("3"), parse_seeds("3,5"), parse_seeds("5,")
    ([0, 1, 2], [3, 5], [5])
    """
    parts = parse_list(text)
    if not parts or not all(part.isdecimal() for part in parts):
        raise UserError(
            f"--seeds {text}: not allowed. Give how many seeds (5), or a list of seeds: whole numbers >= 0 with a "
            "comma (3,5,8; or 5, for seed 5 alone)."
        )
    if any(len(part) > LONGEST_SEED for part in parts):
        raise _too_large(f"--seeds {text[:60]}...")
    if "," not in text and int(parts[0]) == 0:
        raise UserError(
            "--seeds 0: this means no seed, so nothing would be trained. Give a number >= 1, or `--seeds 0,` (with a "
            "comma) for seed 0 alone."
        )
    return seeds_of([int(part) for part in parts] if "," in text else int(parts[0]), f"--seeds {text}")


def seeds_of(value: int | list[int], where: str) -> list[int]:
    """The seeds that a value of an experiment or option means: N is the seeds 0 to N - 1; a list is these, each once.

    UserError, which begins with `where`, for too many seeds or too large ones.

    >>> seeds_of(2, "seeds"), seeds_of([7, 7, 1], "seeds")
    ([0, 1], [7, 1])
    """
    largest = max(value) if isinstance(value, list) else value
    if largest > (LARGEST_SEED if isinstance(value, list) else MOST_SEEDS):
        raise _too_large(where)
    return list(dict.fromkeys(value)) if isinstance(value, list) else list(range(value))


def _too_large(where: str) -> UserError:
    return UserError(f"{where}: too large. Allowed: at most {MOST_SEEDS} seeds, each at most {LARGEST_SEED}.")


def parse_settings(settings: Iterable[str]) -> dict[str, list[str]]:
    """The values of each key of `--set` texts, `key=value` or `key=a,b` for a grid. UserError for a key given twice.

    >>> parse_settings(["epochs=5", "ogm.alpha=0.1,0.8"])
    {'epochs': ['5'], 'ogm.alpha': ['0.1', '0.8']}
    """
    parsed: dict[str, list[str]] = {}
    for text in settings:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not key or not equals or not parse_list(value):
            raise UserError(f"--set {text}: not allowed. Give key=value, or key=a,b for a grid.")
        if key in parsed:
            raise UserError(f"--set {key} is given twice. Give --set {key}={','.join(parsed[key])},{value} for a grid.")
        parsed[key] = parse_list(value)
    return parsed


def parse_duration(option: str, text: str) -> float:
    """The seconds that the text given to `option` means: a number of seconds, or numbers with the units d, h, m, s.

    >>> parse_duration("--timeout", "90"), parse_duration("--timeout", "1h30m")
    (90.0, 5400.0)
    """
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)([dhms])", text)
    if "".join(number + unit for number, unit in parts) != text:
        parts = [(text, "s")] if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else []
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if not 0 < seconds <= LONGEST:
        allowed = f"a time above 0 and up to {duration_text(LONGEST)}, such as 90s, 30m, 2h, 1h30m or 1d"
        raise UserError(f"{option} {text}: not allowed. Give {allowed}.")
    return seconds


def duration_text(seconds: float) -> str:
    """Seconds as `parse_duration` reads them.

    >>> duration_text(5400), duration_text(0.5)
    ('1h30m', '0.5s')
    """
    text, left = "", seconds
    for unit, size in UNITS.items():
        whole, left = divmod(left, size) if unit != "s" else (round(left, 3), 0)
        text += f"{whole:g}{unit}" if whole else ""
    return text
