"""Lists and cards of encoders and fusion heads, on the command line."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mcr_bench.bench.models.kinds import encoder_kinds, fusion_kinds
from mcr_bench.cli import app
from mcr_bench.tests.support.runs.own_nets import write_nets

PRETRAINED = {"wav2vec2", "wav2vec2-conformer", "hubert", "vivit", "swin", "conformer"}


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_nets(tmp_path)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def card(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(call("describe", name, "--json").stdout)
    return found


def test_lists_hold_every_kind_and_what_it_is_chosen_by() -> None:
    encoders = {row["name"]: row for row in json.loads(call("list", "encoders", "--json").stdout)}
    assert encoders.keys() == encoder_kinds().keys()
    assert {name for name, row in encoders.items() if row["needs"]} == PRETRAINED
    assert (encoders["conv1d"]["samples"], encoders["conv1d"]["padded"]) == (["(T, C)"], ["(T, C)"])
    assert (encoders["mlp"]["padded"], encoders["mlp"]["gives"]) == ([], ["tokens", "stages"])
    assert encoders["transformer"]["gives"] == ["tokens", "stages"]
    fusions = {row["name"]: row for row in json.loads(call("list", "fusions", "--json").stdout)}
    assert fusions.keys() == fusion_kinds().keys()
    assert [name for name, row in fusions.items() if row["additive"] is True] == ["late-linear"]
    assert fusions["film"]["settings"] == ["conditioning"]
    assert (fusions["film"]["at_least"], fusions["film"]["at_most"], fusions["gated"]["at_most"]) == (2, 2, None)
    assert (fusions["class-token"]["reads"], fusions["central-path"]["reads"]) == (["tokens"], ["stages"])


def test_lists_are_tables_on_a_terminal() -> None:
    head, *rows = call("list", "fusions").stdout.splitlines()
    assert head.split()[:7] == ["NAME", "AT", "LEAST", "AT", "MOST", "ADDITIVE", "READS"]
    (film,) = [row for row in rows if row.startswith("film ")]
    assert film.split()[:4] == ["film", "2", "2", "conditioning"]
    (late,) = [row for row in rows if row.startswith("late-linear ")]
    assert late.split()[:3] == ["late-linear", "1", "additive"]
    (resnet,) = [row for row in call("list", "encoders").stdout.splitlines() if row.startswith("resnet18 ")]
    assert "(C, H, W), (T, C, H, W)" in resnet
    assert "tokens, stages" in resnet


@pytest.mark.parametrize("name", [*encoder_kinds(), *fusion_kinds()])
def test_every_kind_has_a_card_with_the_origin_of_its_defaults(name: str) -> None:
    found = card(name)
    assert found["encoder" if name in encoder_kinds() else "fusion"] == name
    assert all(setting["doc"] and setting["origin"] for setting in found["settings"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(PRETRAINED))
def test_a_card_says_how_to_install_what_is_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    needs = "mcr-bench[backbones], which is missing here: pip install 'mcr-bench[backbones]'"
    assert card(name)["needs"] == needs
    assert needs in call("list", "encoders").stdout


def test_nets_and_heads_of_files_have_cards() -> None:
    found = card("./nets.py:Scaled")
    assert (found["encoder"], found["description"]) == (
        "./nets.py:Scaled",
        "Features of a learned scale and linear layers.",
    )
    assert [(s["key"], s["default"], s["origin"]) for s in found["settings"]] == [  # type: ignore[attr-defined]
        ("encoder.depth", 2, "its constructor"),
        ("encoder.rate", 0.0, "its constructor"),
    ]
    assert card("./nets.py:Steps")["samples"] == "(T, C)"
    head = card("heads.py:Weighted")
    assert (head["fusion"], head["additive"]) == ("heads.py:Weighted", True)
    assert [s["key"] for s in head["settings"]] == ["model.weight"]  # type: ignore[attr-defined]
    assert {"joint", "ogm"} <= set(head["methods"]["defined for"])  # type: ignore[index]
    assert "where its forward asks for them" in " ".join(head["methods"]["not for"])  # type: ignore[index]


def test_cards_of_methods_and_heads_say_which_are_defined_for_each_other() -> None:
    heads = card("mcr")["fusion heads"]
    assert set(heads["defined for"]) == {"concat-mlp", "film", "gated", "late-linear", "tensor-fusion"}  # type: ignore[index]
    told = "gives the fusion head features of its own making, but it reads the encoders' stages"
    assert f"central-path: {told}" in heads["not for"]  # type: ignore[index]
    methods = card("class-token")["methods"]
    assert not {"ogm", "ogm-ge", "mcr", "agm"} & set(methods["defined for"])  # type: ignore[index]
    assert {"joint", "mlb", "ensemble"} <= set(methods["defined for"])  # type: ignore[index]
    rows = {row["method"]: row for row in json.loads(call("list", "heads", "--json").stdout)}
    assert (rows["ogm"]["late-linear"], rows["ogm"]["gated"], rows["joint"]["why not"]) == ("yes", "no", "")
    assert "needs an additive fusion head" in rows["ogm"]["why not"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("./nets.py", "defines several things: Scaled (encoder), Steps (encoder). Name one: ./nets.py:Scaled"),
        ("./nets.py:Step", "unknown class 'Step'. Did you mean Steps"),
        ("./nets.py:math", "is not a class"),
        ("conv1", "unknown method, dataset, encoder or fusion head 'conv1'. Did you mean conv1d"),
        ("gatd", "Did you mean gated"),
    ],
)
def test_names_of_nothing_are_told(name: str, says: str) -> None:
    found = call("describe", name)
    assert (found.exit_code, found.stdout) == (2, "")
    assert says in found.stderr
