"""Text of the command line -> values: seeds, comma lists and settings."""

from collections.abc import Iterable

from mcr_bench.bench.errors import UserError

MOST_SEEDS, LARGEST_SEED = 10_000, 2**63 - 1


def parse_list(text: str) -> list[str]:
    """`a, b` -> ["a", "b"], without doubles."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def parse_names(option: str, text: str) -> list[str]:
    """A comma list that must name something; UserError where it is empty."""
    names = parse_list(text)
    if not names:
        raise UserError(f"{option} '{text}' names nothing. Give a name, or a comma list of names.")
    return names


def parse_seeds(text: str) -> list[int]:
    """`N` -> seeds 0 to N - 1; a comma makes a list: `3,5,8`, or `5,` for the one seed 5."""
    parts = parse_list(text)
    if not parts or not all(part.isdecimal() for part in parts):
        raise UserError(
            f"--seeds {text}: not allowed. Give a number of seeds (5) or a list (3,5,8 or 5,) of numbers >= 0."
        )
    if "," not in text and int(parts[0]) == 0:
        raise UserError("--seeds 0: nothing to train. Give a number >= 1, or 0, for the one seed 0.")
    return seeds_of([int(part) for part in parts] if "," in text else int(parts[0]), f"--seeds {text}")


def seeds_of(value: int | list[int], where: str) -> list[int]:
    """A number N -> seeds 0 to N - 1, a list -> itself without doubles; UserError where they are too large."""
    largest = max(value) if isinstance(value, list) else value
    if largest > (LARGEST_SEED if isinstance(value, list) else MOST_SEEDS):
        raise UserError(f"{where}: too large. At most {MOST_SEEDS} seeds, none above {LARGEST_SEED}.")
    return list(dict.fromkeys(value)) if isinstance(value, list) else list(range(value))


def parse_settings(settings: Iterable[str]) -> dict[str, list[str]]:
    """`key=value` or `key=a,b` (a grid) each -> key -> values; a key given twice is an error."""
    parsed: dict[str, list[str]] = {}
    for text in settings:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not key or not equals or not parse_list(value):
            raise UserError(f"--set {text}: not allowed. Write key=value, or key=a,b for a grid.")
        if key in parsed:
            raise UserError(
                f"--set {key} is given twice. Write --set {key}={','.join(parsed[key])},{value} for a grid."
            )
        parsed[key] = parse_list(value)
    return parsed
