"""Advice on seeds is one rule: what `run` says before training is what `compare` says after it."""

import re

import pytest

from mcr_bench.bench.analysis.claims import claims
from mcr_bench.bench.report.claim_tables import power_lines
from mcr_bench.bench.statistics.power import shortfall
from mcr_bench.tests.support.records.claimed_runs import compared
from mcr_bench.tests.support.runs.planned import planned


@pytest.mark.parametrize(
    ("methods", "needed"),
    [
        (("joint",), 6),  # 2 / 2^6 = .031
        (("joint", "ensemble"), 6),
        (("joint", "ensemble", "mcr"), 7),  # 2 x 2 / 2^7 = .031
        (("joint", "ensemble", "mcr", "ogm", "ogm-ge", "mlb"), 8),  # 5 x 2 / 2^8 = .039
    ],
)
def test_run_and_compare_name_the_same_number(data: str, methods: tuple[str, ...], needed: int) -> None:
    enough = planned(data, *methods, seeds=range(needed)).announcements
    assert not [line for line in enough if "cannot show" in line]
    (line,) = [line for line in planned(data, *methods, seeds=range(needed - 1)).announcements if "cannot show" in line]
    assert f"(--seeds {needed})" in line
    if len(methods) > 1:
        found = compared({method: [0.5 + seed / 100 for seed in range(needed - 1)] for method in methods})
        said = power_lines(claims(found, methods[0]))
        assert re.search(r"; (\d+) can", said[0]).group(1) == str(needed)  # type: ignore[union-attr]
        assert said[1].endswith(f"--seeds {needed}")


def test_lines_of_a_grid_are_a_family_and_datasets_have_their_own(data: str) -> None:
    grid = planned(data, "joint", seeds=range(6), set={"optimizer.lr": ["0.1", "0.2", "0.3"]}).announcements  # 2
    assert [line for line in grid if "(--seeds 7)" in line]
    dials = planned("synthetic", "joint", "ensemble", seeds=range(6), set={"dataset.train": ["50", "60"]})
    assert not [line for line in dials.announcements if "cannot show" in line]


def test_a_shortfall_by_hand() -> None:
    found = shortfall(3, 2)
    assert found is not None
    assert (found.smallest, found.needed) == (0.5, 7)  # 2 x 2 / 8
    assert shortfall(7, 2) is None
    strict = shortfall(7, 2, 0.01)
    assert strict is not None
    assert strict.needed == 9  # 2 x 2 / 2^9 = .0078
