"""Read the tags and metrics of a run as typed values; `Bad` names the one that is wrong, its value and the remedy."""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar, get_args

from mcr_bench.bench.core.json_values import Json
from mcr_bench.bench.errors import one_line
from mcr_bench.bench.problem.missing import LONGEST_TAG, MORE
from mcr_bench.bench.problem.missing import TAG as MISSING
from mcr_bench.bench.record.row import Asked, Role
from mcr_bench.bench.settings.arguments import LARGEST_SEED

T = TypeVar("T")
PRESETS = "presets"  # the tag of a run that was requested under more presets than the one that trained it
ROLES: dict[str, Role] = {role: role for role in get_args(Role)}
TEST = "test/"
WHOLE = re.compile(r"-?[0-9]{1,19}")  # as many digits as the largest seed has
NUMBERS = (float, int)
LARGEST = 1e100  # float32 ends at 3.4e38: MLflow stores an infinity as 1.8e308, and sums of such numbers fail
LONGEST = 120  # characters of a value that a note repeats
PLACE = "in MLflow's page (`mcr-bench ui`)"
CORRECT = f"Correct it {PLACE}, or delete the run there and train it again."
AGAIN = f"Delete the run {PLACE} and train it again."
REMOVE = f"Correct it or delete the tag {PLACE}."


class Bad(ValueError):
    """What is wrong with a run of the store, in words."""


@dataclass(frozen=True)
class Tags:
    """The tags of a run, name -> text. Tags that early versions did not write are optional; all others must exist."""

    all: Mapping[str, str]

    def text(self, name: str) -> str:
        """A tag that every version writes."""
        value = self.optional(name)
        if not value.strip():
            state = "is empty" if name in self.all else "is missing"
            raise Bad(f"its tag '{name}' {state}. {CORRECT}")
        return value

    def optional(self, name: str) -> str:
        """A tag that may be missing: then empty."""
        value = self.all.get(name) or ""
        if len(value) > LONGEST_TAG:
            raise Bad(f"its tag '{name}' has {len(value):,} characters, more than MLflow's {LONGEST_TAG:,}. {CORRECT}")
        return value

    def whole(self, name: str, missing: int | None = None) -> int:
        """A tag as a whole number; `missing` where there is none, and None for a tag that every version writes."""
        allowed = f"a whole number up to {LARGEST_SEED}"
        text = self.text(name) if missing is None else self.optional(name) or str(missing)
        return self._read(name, text, allowed, CORRECT if missing is None else REMOVE, _whole)

    def names(self, name: str) -> tuple[str, ...]:
        """A comma list that is not empty."""
        allowed = "a comma list of different names, such as audio,video"
        return self._read(name, self.text(name), allowed, CORRECT, _names)

    def role(self) -> Role:
        """The role of the run's method."""
        return self._read("role", self.text("role"), _listed(ROLES), CORRECT, lambda text: ROLES.get(text))

    def flag(self, name: str, missing: bool = False) -> bool:
        """A tag that says true or false; `missing` where there is none."""
        words = {"true": True, "false": False}
        return self._read(name, self.optional(name) or str(missing).lower(), _listed(words), REMOVE, words.get)

    def presets(self) -> dict[str, Asked]:
        """The other presets under which the run was requested."""
        allowed = 'JSON such as {"PRESET": {"origin": "...", "overrides": "..."}}'
        return self._read(PRESETS, self.optional(PRESETS) or "{}", allowed, REMOVE, presets_of)

    def missing(self) -> dict[str, tuple[str, ...]]:
        """Reason -> names of the metrics that are missing for it."""
        allowed = 'JSON such as {"REASON": ["METRIC"]}'
        return self._read(MISSING, self.optional(MISSING) or "{}", allowed, REMOVE, _reasons)

    def below(self, prefix: str) -> dict[str, str]:
        """The tags whose names begin with `prefix`, by name without it."""
        return {rest: self.all[name] for name, rest in _below(tuple(self.all), prefix)}

    def _read(self, name: str, text: str, allowed: str, remedy: str, read: Callable[[str], T | None]) -> T:
        value = read(text)
        if value is None:
            raise Bad(f"its tag '{name}' is '{one_line(text, LONGEST)}', which is not {allowed}. {remedy}")
        return value


@dataclass(frozen=True)
class Metrics:
    """The metrics of one run: final ones, and of curves the last value."""

    all: Mapping[str, float]

    def numbers(self) -> dict[str, float]:
        """All of them; nan and infinities are numbers too, and what no run can reach is an infinity."""
        for name, value in self.all.items():
            if type(value) not in NUMBERS:
                raise Bad(f"its metric '{name}' is '{one_line(str(value), LONGEST)}', which is not a number. {AGAIN}")
        return {name: value if abs(value) <= LARGEST else _measured(value) for name, value in self.all.items()}

    def require_result(self, metric: str, missing: Mapping[str, Sequence[str]]) -> None:
        """`Bad` where a run that was tested has neither a value of its metric nor a reason why there is none."""
        tested = [rest for _, rest in _below(tuple(self.all), TEST) if "/" not in rest]
        lost = {name.removeprefix(TEST) for names in missing.values() for name in names}
        shortened = any(name.endswith(MORE) for name in lost)
        if tested and not shortened and metric not in {*tested, *lost}:
            told = f"its tag 'metric' is '{one_line(metric, LONGEST)}', which is not {_listed(sorted(tested))}"
            raise Bad(f"{told}, on which it was tested. {CORRECT}")

    def count(self, name: str) -> int | None:
        """A number of epochs or samples; None where it is not on record."""
        value = self.all.get(name)
        if value is None:
            return None
        if not math.isfinite(value) or value < 0 or value != int(value):
            raise Bad(f"its metric '{name}' is {value}, which is not a whole number >= 0. {AGAIN}")
        return int(value)

    def measured(self, name: str) -> float | None:
        """A cost; None where it is not on record or not finite."""
        value = self.all.get(name)
        return value if value is not None and math.isfinite(_measured(value)) else None

    def below(self, prefix: str) -> dict[str, float]:
        """The metrics whose names begin with `prefix`, by name without it."""
        return {rest: _measured(self.all[name]) for name, rest in _below(tuple(self.all), prefix)}


@lru_cache(maxsize=1024)  # thousands of runs have the same names
def _below(names: tuple[str, ...], prefix: str) -> tuple[tuple[str, str], ...]:
    """The names that begin with `prefix`, each with what follows it."""
    return tuple((name, name.removeprefix(prefix)) for name in names if name.startswith(prefix))


def _measured(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) > LARGEST else value


def presets_of(text: str) -> dict[str, Asked] | None:
    """The presets that a tag `presets` names; None where it is not such a tag."""
    tag = _object(text)
    if tag is None:
        return None
    presets: dict[str, Asked] = {}
    for name, asked in tag.items():
        if not isinstance(asked, dict):
            return None
        origin, overrides = asked.get("origin", ""), asked.get("overrides", "")
        if not isinstance(origin, str) or not isinstance(overrides, str):
            return None
        presets[name] = Asked(origin, overrides)
    return presets


def _reasons(text: str) -> dict[str, tuple[str, ...]] | None:
    given, reasons = _object(text), dict[str, tuple[str, ...]]()
    for reason, names in (given or {}).items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return None
        reasons[reason] = tuple(map(str, names))
    return None if given is None else reasons


def _object(text: str) -> dict[str, Json] | None:
    """The JSON object in a text; None if the text is not one."""
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _whole(text: str) -> int | None:
    number = int(text) if WHOLE.fullmatch(text.strip()) else None
    return None if number is None or abs(number) > LARGEST_SEED else number


def _names(text: str) -> tuple[str, ...] | None:
    names = tuple(name for name in text.split(",") if name)
    return names if names and len(set(names)) == len(names) else None


def _listed(allowed: Iterable[str]) -> str:
    return "one of " + ", ".join(allowed)
