"""Encoders and fusion heads by name: of files and of packages, what goes wrong, and their place in the key."""

from importlib import metadata
from pathlib import Path

import pytest
import torch
from torch import nn

from mcr_bench.bench.catalog import nets, registry
from mcr_bench.bench.catalog.resolve import resolve_run
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.declared import Encoder
from mcr_bench.bench.models.kinds import encoder_kinds
from mcr_bench.tests.support.runs.own_nets import VECTORS, write_data, write_nets
from mcr_bench.tests.support.runs.planned import keys, only, plain_presets, planned


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_nets(tmp_path)
    write_data(tmp_path / "two.npz")
    write_data(tmp_path / "three.npz", 3)
    Path("one.py").write_text(VECTORS.split("class Steps")[0])
    Path("broken.py").write_text("import no_such_library\n")
    Path("relative.py").write_text("from . import helper\n")
    Path("late.py").write_text("raise SystemExit(3)\n")
    Path("other.py").write_text("value = 3\nclass Plain: ...\n")


# Names and files


def test_a_file_of_one_net_needs_no_class_and_gets_its_name() -> None:
    assert nets.encoder("./one.py").name == "./one.py:Scaled"
    assert nets.encoder("./nets.py:Steps").name == "./nets.py:Steps"
    assert nets.encoder("./nets.py:Steps") is nets.encoder("./nets.py:Steps")


FILES = {
    "./none.py:Net": "encoder file 'none.py' does not exist. Give the path of a Python file: ./my_net.py:Net",
    "./nets.py": "must define exactly one subclass of torch.nn.Module, found 2: Scaled, Steps. Name one: ./nets.py:Sc",
    "./nets.py:Scale": "unknown class 'Scale'. Did you mean Scaled?",
    "./nets.py:": "unknown class ''",
    "./nets.py:math": "'math' is not a class",
    "./other.py:Plain": "class Plain is not a torch.nn.Module. Derive it from torch.nn.Module",
    "./other.py": "must define exactly one subclass of torch.nn.Module, found 0",
    "./broken.py:Net": "file 'broken.py' cannot be imported: ModuleNotFoundError: No module named 'no_such_library'",
    "./relative.py:Net": "without the dot",
    "./late.py:Net": "cannot be imported: SystemExit: 3",
    "./heads.py:Product": "its constructor needs 'outputs', which has no default",
    "convv1d": "unknown encoder 'convv1d'. Did you mean conv1d",
}


@pytest.mark.parametrize("name", FILES)
def test_encoders_that_are_none_are_told_when_planning(name: str) -> None:
    with pytest.raises(UserError) as error:
        planned("two.npz", "joint", set={"encoder.voice.kind": [name]})
    assert FILES[name] in str(error.value)


HEADS = {
    "./none.py:Head": "fusion head file 'none.py' does not exist",
    "./heads.py:Weigthed": "Did you mean Weighted",
    "./nets.py:Scaled": "cannot be made as Scaled(['voice', 'face'], 64, 3, rate=0.0): TypeError",
    "./nets.py:Steps": "cannot be made as Steps(['voice', 'face'], 64, 3): TypeError",
    "late-liner": "unknown fusion 'late-liner'. Did you mean late-linear",
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_that_are_none_are_told_when_planning(name: str) -> None:
    with pytest.raises(UserError) as error:
        planned("two.npz", "joint", set={"model.fusion": [name]})
    assert HEADS[name] in str(error.value)


class Theirs(nn.Module):
    """Of a package."""

    def __init__(self, shape: tuple[int, ...], width: int, gain: float = 1.0) -> None:
        super().__init__()
        self.layer, self.gain = nn.Linear(shape[0], width), gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gain * self.layer(x)  # type: ignore[no-any-return]


def offered(monkeypatch: pytest.MonkeyPatch, group: str, **values: str) -> None:
    points = [metadata.EntryPoint(name, value, group) for name, value in values.items()]
    monkeypatch.setattr(nets, "entry_points", lambda group: [p for p in points if p.group == group])


def test_packages_bring_encoders_by_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"{__name__}:Theirs"
    offered(monkeypatch, nets.ENCODERS, theirs=place, bad="os:path")
    offered_names = nets.encoder_names()
    assert {"theirs", "bad", *encoder_kinds()} == set(offered_names)
    assert "theirs" not in nets.fusion_names()
    run = only(planned("two.npz", "joint", set={"encoder.voice.kind": ["theirs"], "encoder.voice.gain": ["2"]}))
    assert run.encoders["voice"]["kind"] == "theirs"
    assert run.encoders["voice"]["gain"] == 2.0
    with pytest.raises(UserError, match=r"'bad' is os:path, which is not a torch\.nn\.Module"):
        nets.encoder("bad")


def test_packages_bring_heads_by_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, nets.FUSIONS, theirs="no_such_package:Head")
    assert "theirs" in nets.fusion_names()
    with pytest.raises(UserError, match="'theirs' of no_such_package:Head cannot be imported"):
        nets.fusion("theirs")


# Settings


def encoders_of(**settings: str) -> dict[str, dict[str, object]]:
    values = {key.replace("__", "."): [value] for key, value in settings.items()}
    return {m: dict(e) for m, e in only(planned("two.npz", "joint", set=values)).encoders.items()}


def test_settings_of_a_net_are_its_own_and_those_of_its_modality() -> None:
    found = encoders_of(
        encoder__voice__kind="./nets.py:Scaled", encoder__voice__depth="3", encoder__rate="0.5", encoder__width="16"
    )
    assert {k: v for k, v in found["voice"].items() if k != "kind_digest"} == {
        "kind": "./nets.py:Scaled",
        "depth": 3,
        "rate": 0.5,
    }
    assert (found["face"]["kind"], found["face"]["width"]) == ("conv1d", 16)
    assert "rate" not in found["face"]


def test_one_net_may_serve_every_modality() -> None:
    found = encoders_of(encoder__kind="./nets.py:Scaled", encoder__depth="1", encoder__face__depth="3")
    assert {m: e["depth"] for m, e in found.items()} == {"voice": 1, "face": 3}
    found = encoders_of(encoder__kind="./nets.py:Scaled", encoder__face__kind="transformer")
    assert {m: e["kind"] for m, e in found.items()} == {"voice": "./nets.py:Scaled", "face": "transformer"}


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("encoder.voice.dept", r"encoder\.voice\.dept'\. Did you mean encoder\.voice\.depth"),
        ("encoder.voice.width", r"unknown setting of \./nets\.py:Scaled .*Known: encoder\.voice\.depth"),
        ("encoder.rat", "unknown setting 'encoder.rat'"),
        ("encoder.face.rate", r"unknown setting .*encoder\.(face\.)?rate"),
        ("encoder.voice.kind_digest", "unknown setting of"),
    ],
)
def test_settings_that_a_net_lacks_are_refused_with_those_it_has(key: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        planned("two.npz", "joint", set={"encoder.voice.kind": ["./nets.py:Scaled"], key: ["1"]})


def test_a_common_setting_that_no_encoder_has_is_refused() -> None:
    with pytest.raises(UserError, match=r"unknown setting of \./nets\.py:Scaled 'encoder\.width'.*encoder\.depth"):
        planned("two.npz", "joint", set={"encoder.kind": ["./nets.py:Scaled"], "encoder.width": ["8"]})


def test_values_are_typed_as_the_constructor_says() -> None:
    with pytest.raises(UserError, match=r"encoder\.voice\.depth=deep: not allowed\. Allowed: whole number"):
        planned("two.npz", "joint", set={"encoder.voice.kind": ["./nets.py:Scaled"], "encoder.voice.depth": ["deep"]})


def test_settings_of_a_head_stand_beside_the_model_s() -> None:
    settings = {"model.fusion": ["./heads.py:Weighted"], "model.weight": ["0.5"], "model.width": ["8"]}
    model = dict(only(planned("two.npz", "joint", set=settings)).model)
    assert len(str(model.pop("fusion_digest"))) == 16
    assert model == {"fusion": "./heads.py:Weighted", "width": 8, "weight": 0.5}
    for key in ("model.weigth", "model.conditioning"):
        with pytest.raises(UserError, match=rf"unknown setting of \./heads\.py:Weighted '{key}'"):
            planned("two.npz", "joint", set={"model.fusion": ["./heads.py:Weighted"], key: ["1"]})


def test_a_preset_s_settings_of_other_encoders_do_not_reach_a_net_that_the_user_chooses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    presets = tmp_path / "home/presets"
    presets.mkdir(parents=True)
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path / "home"))
    common = 'origin = "tuned-here"\n"encoder.depth" = 4\n"encoder.width" = 8\n"model.conditioning" = "voice"\n'
    own = '"encoder.voice.kind" = "./nets.py:Scaled"\n"encoder.voice.rate" = 0.25\n'
    (presets / "two.npz.toml").write_text(f"[other]\n{common}[mine]\n{common}{own}")
    chosen = {"encoder.voice.kind": ["./nets.py:Scaled"], "model.fusion": ["./heads.py:Weighted"]}
    run = only(planned("two.npz", "joint", preset="other", set=chosen))
    assert (run.encoders["voice"]["depth"], run.encoders["face"]["depth"]) == (2, 4)
    assert "conditioning" not in run.model
    run = only(planned("two.npz", "joint", preset="mine"))
    assert (run.encoders["voice"]["depth"], run.encoders["voice"]["rate"]) == (4, 0.25)


def test_a_method_may_have_a_net_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    plain_presets(monkeypatch)
    runs = planned("two.npz", "joint", "multi-loss", set={"joint.encoder.voice.kind": ["./nets.py:Scaled"]}).runs
    assert {run.method: run.encoders["voice"]["kind"] for run in runs} == {
        "joint": "./nets.py:Scaled",
        "multi-loss": "mlp",
    }


# The key


def key_with(kind: str, **more: list[str]) -> str:
    return only(planned("two.npz", "joint", set={"encoder.voice.kind": [kind], **more})).key


def test_the_key_follows_what_a_net_computes_and_not_where_it_lies(tmp_path: Path) -> None:
    key = key_with("./nets.py:Scaled")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/nets.py").write_text(VECTORS)
    (tmp_path / "words.py").write_text("# a comment\n" + VECTORS.replace("Features of a learned", "The features of a"))
    (tmp_path / "changed.py").write_text(VECTORS.replace("* self.scale", "+ self.scale"))
    (tmp_path / "default.py").write_text(VECTORS.replace("depth: int = 2", "depth: int = 3"))
    assert key_with(str(tmp_path / "deep/nets.py:Scaled")) == key
    assert key_with("./words.py:Scaled") == key
    assert key_with("./one.py") == key_with("./one.py:Scaled")
    assert len({key, key_with("./changed.py:Scaled"), key_with("./default.py:Scaled"), key_with("mlp")}) == 4
    assert key_with("./nets.py:Scaled", **{"encoder.voice.depth": ["2"]}) == key


def test_an_edited_file_is_another_net_and_so_is_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("GAIN = 1.0\n")
    text = VECTORS.replace("import math", "import math\n\nimport helper").replace("* self.scale", "* helper.GAIN")
    (tmp_path / "mine.py").write_text(text)
    keys = [key_with("./mine.py:Scaled")]
    (tmp_path / "helper.py").write_text("GAIN = 1.125\n")
    keys.append(key_with("./mine.py:Scaled"))
    (tmp_path / "mine.py").write_text(text.replace("depth: int = 2", "depth: int = 1"))
    keys.append(key_with("./mine.py:Scaled"))
    assert len(set(keys)) == 3


def test_a_head_counts_alike(tmp_path: Path) -> None:
    settings = {"model.fusion": ["./heads.py:Product"]}
    first = keys(planned("two.npz", "joint", set=settings))
    text = (tmp_path / "heads.py").read_text()
    (tmp_path / "heads.py").write_text(text.replace("(1 + layer", "(2 + layer"))
    assert keys(planned("two.npz", "joint", set=settings)) != first


def test_a_net_that_changes_after_planning_is_not_trained(tmp_path: Path) -> None:
    run = only(planned("two.npz", "joint", set={"encoder.voice.kind": ["./nets.py:Scaled"]}))
    assert isinstance(nets.encoder_of(run.encoders["voice"]), Encoder)
    (tmp_path / "nets.py").write_text(VECTORS.replace("* self.scale", "- self.scale"))
    with pytest.raises(UserError, match=r"its file has changed since the run was planned\. Start the command again"):
        nets.encoder_of(run.encoders["voice"])


# What planning tells


def test_a_net_that_sees_padding_is_announced() -> None:
    plan = planned("three.npz", "joint", set={"encoder.pose.kind": ["./nets.py:Scaled"]})
    (note,) = [line for line in plan.announcements if "padded" in line]
    assert "three.npz: 'pose' is padded, and ./nets.py:Scaled takes no lengths" in note
    plan = planned("three.npz", "joint", set={"encoder.pose.kind": ["./nets.py:Steps"]})
    assert not [line for line in plan.announcements if "padded" in line]


def test_methods_that_make_features_are_skipped_where_the_head_reads_tokens() -> None:
    settings = {"encoder.voice.kind": ["mlp"], "model.fusion": ["./heads.py:Attending"]}
    plan = planned("two.npz", "joint", "mcr", "agm", "ogm", modalities=("face",), set=settings)
    assert {run.method for run in plan.runs} == {"joint"}
    settings = {"encoder.kind": ["transformer"], "model.fusion": ["./heads.py:Attending"]}
    plan = planned("three.npz", "joint", "mcr", "agm", "ogm", modalities=("face", "pose"), set=settings)
    reasons = {method: reason for _, method, reason in plan.skipped}
    assert {run.method for run in plan.runs} == {"joint"}
    assert "features of its own making, but ./heads.py:Attending reads the encoders' tokens" in reasons["mcr"]
    assert reasons["agm"] == reasons["mcr"]
    assert "additive" in reasons["ogm"]


def test_settings_of_windows_are_those_of_encoders_that_have_them() -> None:
    values = {"encoder.left.kind": "windows", "encoder.left.window": "3"}
    encoders = resolve_run(values, registry.method("joint"), registry.dataset("synthetic"), ("left", "right")).encoders
    assert {k: encoders["left"][k] for k in ("window", "stride", "pixels", "bins")} == {
        **{"window": 3, "stride": 0, "pixels": 0, "bins": 4}
    }
    assert not {"window", "stride", "pixels", "bins"} & encoders["right"].keys()
