"""What clips were decoded with: versions as text, and what `data verify` says of them."""

from dataclasses import replace

import av
import numpy as np
import pytest

from mcr_bench.bench.audit.verify import Verification
from mcr_bench.bench.audit.verify_text import data_of, text_of
from mcr_bench.bench.problem.inventory import Inventory
from mcr_bench.datasets.cache.libraries import versions

MADE = Inventory(3, libraries=("av 14.0.0, numpy 2.0.0",), installed="av 14.0.0, numpy 2.0.0")


def test_versions_name_the_parts_of_av_and_what_is_not_there() -> None:
    codec = ".".join(map(str, av.library_versions["libavcodec"]))
    result = versions(("av", "no_such_library", "numpy")).split(", ")
    assert (result[0], result[-2:]) == (f"av {av.__version__}", ["no no_such_library", f"numpy {np.__version__}"])
    assert f"libavcodec {codec}" in result


@pytest.mark.parametrize(
    ("inventory", "decoded", "said"),
    [
        (MADE, True, False),
        (replace(MADE, installed="av 15.0.0, numpy 2.0.0"), True, True),
        (replace(MADE, libraries=("av 13.0.0, numpy 2.0.0", *MADE.libraries)), True, True),
        (Inventory(3), False, False),
    ],
)
def test_libraries_that_are_others_now_are_said(inventory: Inventory, decoded: bool, said: bool) -> None:
    result = Verification("set", "", inventory, (), "group", [])
    assert ("decoded with av 14.0.0, numpy 2.0.0" in text_of(result)) == decoded
    assert (f"OTHER versions are installed now: {inventory.installed}" in text_of(result)) == said
    assert (data_of(result)["libraries"], data_of(result)["installed"]) == (
        list(inventory.libraries),
        inventory.installed,
    )
