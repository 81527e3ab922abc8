"""`results --verify`: which states of files end it with exit code 1."""

from typing import cast

import pytest

from mcr_bench.bench.commands.verifying import show_checked
from mcr_bench.bench.record.checked import Checked, State
from mcr_bench.bench.record.tracking import Record


class Files:
    """A record of one file."""

    def __init__(self, state: State, replaced: bool) -> None:
        self.one = Checked("run", "joint on synthetic", "predictions.parquet", state, "a reason", replaced)

    def checked(self) -> list[Checked]:
        return [self.one]


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    ("state", "fine"),
    [
        ("whole", True),
        ("unverifiable", True),
        ("outside", False),
        ("damaged", False),
        ("missing", False),
        ("unreadable", False),
    ],
)
def test_what_is_read_must_be_whole_and_here(state: State, fine: bool, as_json: bool) -> None:
    assert show_checked(cast(Record, Files(state, replaced=False)), as_json) is fine
    assert show_checked(cast(Record, Files(state, replaced=True)), as_json)
