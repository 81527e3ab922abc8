"""Lines of a table that have settings of their own: which stand in the title, and how nets of one's own are named."""

from collections.abc import Mapping

import pytest

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.record.row import RunRow
from mcr_bench.tests.support.records.run_rows import run_row

WIDTH = "encoder.audio.width=8"


def row(
    method: str, overrides: str, modalities: str = "audio,video", params: Mapping[str, str] | None = None
) -> RunRow:
    part = f" ({modalities})" if method == "unimodal" else ""
    label = f"{method}{part} [{overrides}]" if overrides else f"{method}{part}"
    config = f"{label}{params}"
    return run_row(
        method, key=config, label=label, modalities=modalities, overrides=overrides, config=config, params=params
    )


def only(*rows: RunRow) -> Comparison:
    (one,) = comparisons(rows, "joint")
    return one


def test_a_setting_of_an_encoder_is_shared_by_the_lines_with_its_modality() -> None:
    lines = row("joint", WIDTH), row("unimodal", WIDTH, "audio"), row("unimodal", "", "video")
    found = only(*lines)
    assert [*found.lines] == ["unimodal (audio)", "unimodal (video)", "joint"]
    assert found.title.endswith(WIDTH)
    assert [*only(*lines, row("mcr", "")).lines][-2:] == ["joint [encoder.audio.width=8]", "mcr"]


def test_a_net_is_named_by_its_class() -> None:
    kind = "encoder.audio.kind=/home/someone/my nets/net_12ab.py:Net"
    found = only(
        row("joint", f"epochs=2 {kind}"), row("mcr", f"epochs=2 {kind} mcr.a=1"), row("unimodal", "epochs=2", "video")
    )
    assert found.title.endswith("epochs=2 encoder.audio.kind=Net")
    assert [*found.lines] == ["unimodal (video)", "joint", "mcr [mcr.a=1]"]
    assert found.shared == ("epochs=2", kind)


@pytest.mark.parametrize(
    ("digest", "names"), [("1", ["joint", "mcr"]), ("2", ["joint [K=lab:Net]", "mcr [K=./lab.py:Net]"])]
)
def test_one_net_has_one_name_and_two_nets_have_two(digest: str, names: list[str]) -> None:
    key = "encoder.audio.kind"
    found = only(
        row("joint", f"{key}=lab:Net", params={f"{key}_digest": "1"}),
        row("mcr", f"{key}=./lab.py:Net", params={f"{key}_digest": digest}),
    )
    assert [*found.lines] == [name.replace("K", key) for name in names]
