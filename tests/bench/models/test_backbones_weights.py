"""Weights of pre-trained encoders: loaded, frozen, cut, interpolated, those that do not fit, and their pins."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.backbones import whole
from mcr_bench.bench.models.backbones.vision import resized_positions
from mcr_bench.bench.models.backbones.weights import content_of, pinned, place_of
from mcr_bench.bench.models.kinds import pretrained
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.datasets.base import Modality
from mcr_bench.tests.support.runs.small_backbones import (
    CLIP,
    CONFORMER,
    SMALL,
    WAVE,
    assert_state,
    encoder_of,
    model_in,
    sample,
)

PRETRAINED = pretrained()

pytest.importorskip("transformers", reason="transformers is not installed: pip install 'mcr-bench[backbones]'")


def saved(folder: Path, kind: str, facts: Modality | None = None, **settings: Any) -> dict[str, Tensor]:
    """Random weights of a tiny model written to `folder` by the library; returns them."""
    kind = "wav2vec2" if kind == "wav2vec2-conformer" else kind
    model = model_in(encoder_of(kind, facts or SMALL[kind], seed=99, **{"depth": 2, **settings}))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) / 10)
    model.save_pretrained(folder)
    return {name: value.clone() for name, value in model.state_dict().items()}


def step(encoder: nn.Module, facts: Modality) -> None:
    """One step of SGD that changes whatever has a gradient."""
    features = encoder.train()(*sample(facts))
    (features * torch.arange(1.0, 7.0)).square().sum().backward()
    torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=1.0).step()


@pytest.mark.parametrize("kind", PRETRAINED)
def test_weights_of_a_local_folder_are_loaded_and_survive_the_drawing(tmp_path: Path, kind: str) -> None:
    expected = saved(tmp_path, kind)
    assert_state(model_in(encoder_of(kind, SMALL[kind], weights=str(tmp_path))), expected)


@pytest.mark.parametrize("kind", PRETRAINED)
def test_what_lies_behind_the_weights_is_drawn_as_without_them(tmp_path: Path, kind: str) -> None:
    saved(tmp_path, kind)
    given, drawn = encoder_of(kind, SMALL[kind], weights=str(tmp_path)), encoder_of(kind, SMALL[kind])
    own = {n: p for n, p in drawn.named_parameters() if ".model." not in n}
    assert own
    for name, p in given.named_parameters():
        if name in own:
            torch.testing.assert_close(p, own[name], rtol=0, atol=0)


@pytest.mark.parametrize("kind", PRETRAINED)
def test_what_is_frozen_stays_bit_equal_while_the_rest_learns(tmp_path: Path, kind: str) -> None:
    expected = saved(tmp_path, kind)
    encoder = encoder_of(kind, SMALL[kind], weights=str(tmp_path), frozen=True, dropout=0.5)
    before = {n: p.clone() for n, p in encoder.named_parameters()}
    step(encoder, SMALL[kind])
    assert encoder.training
    assert not any(m.training for m in model_in(encoder).modules())
    assert_state(model_in(encoder), expected)
    learnt = [n for n, p in encoder.named_parameters() if not torch.equal(p, before[n])]
    assert "project.weight" in [n.removeprefix("conformer.") for n in learnt]


def test_the_feature_encoder_of_wav2vec2_learns_only_where_it_was_drawn(tmp_path: Path) -> None:
    saved(tmp_path, "wav2vec2")
    for weights, learns in ((str(tmp_path), False), ("", True)):
        encoder = encoder_of("wav2vec2", WAVE, weights=weights)
        before = {n: v.clone() for n, v in model_in(encoder).named_parameters()}
        step(encoder, WAVE)
        after = dict(model_in(encoder).named_parameters())
        changed = {n for n in before if not torch.equal(before[n], after[n])}
        assert any(n.startswith("encoder.layers.0") for n in changed)
        assert any(n.startswith("feature_extractor") for n in changed) == learns


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "vivit"])
def test_the_first_layers_of_the_weights_are_kept(tmp_path: Path, kind: str) -> None:
    expected = saved(tmp_path, kind, depth=3)
    state = model_in(encoder_of(kind, SMALL[kind], weights=str(tmp_path), layers=2)).state_dict()
    assert state.keys() == {n for n in expected if not n.startswith(("encoder.layers.2.", "layers.2."))}
    for name, value in state.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)
    with pytest.raises(UserError, match=r"encoder\.layers=4: the weights have 3 layers"):
        encoder_of(kind, SMALL[kind], weights=str(tmp_path), layers=4)


def test_positions_of_another_number_of_frames_are_interpolated_over_time(tmp_path: Path) -> None:
    expected = saved(tmp_path, "vivit", Modality((8, 3, 32, 32)))
    state = model_in(encoder_of("vivit", CLIP, weights=str(tmp_path))).state_dict()
    name = "embeddings.position_embeddings"
    long, short = expected.pop(name), state.pop(name)
    steps = long[:, 1:].unflatten(1, (4, 4))
    torch.testing.assert_close(short[:, :1], long[:, :1])
    halves = torch.stack([steps[:, :2].mean(1), steps[:, 2:].mean(1)], 1)
    torch.testing.assert_close(short[:, 1:], halves.flatten(1, 2))
    for key, value in expected.items():
        torch.testing.assert_close(state[key], value, rtol=0, atol=0)


def test_positions_by_hand() -> None:
    """Two places whose positions rise by 1 and by 10 a step; from 2 steps to 4: 1/4 outside is held, 1/4, 3/4."""
    before = torch.tensor([[[7.0], [0.0], [0.0], [1.0], [10.0]]])
    after = resized_positions(before, 2, 4)
    assert after.flatten().tolist() == [7.0, 0.0, 0.0, 0.25, 2.5, 0.75, 7.5, 1.0, 10.0]
    assert resized_positions(before, 2, 2) is before


def test_swin_of_full_frames_is_the_librarys_and_small_frames_have_their_own_features(tmp_path: Path) -> None:
    from transformers import SwinModel

    images = sample(Modality((3, 224, 224)))[0]
    saved(tmp_path, "swin", Modality((3, 224, 224)))
    trunk: Any = encoder_of("swin", Modality((3, 224, 224)), weights=str(tmp_path)).eval().get_submodule("trunk")
    with torch.no_grad():
        expected = SwinModel.from_pretrained(tmp_path).eval()(images).pooler_output
        torch.testing.assert_close(trunk(images).mean((2, 3)), expected)
        for side, grid in ((64, 2), (32, 1), (33, 2)):
            small = encoder_of("swin", Modality((3, side, side)), weights=str(tmp_path)).eval()
            assert small.get_submodule("trunk")(images[..., :side, :side]).shape[2:] == (grid, grid)
            features = small(images[..., :side, :side])
            assert not torch.allclose(features[0], features[1])


def test_weights_that_do_not_fit_are_errors(tmp_path: Path) -> None:
    saved(tmp_path / "swin", "swin")
    saved(tmp_path / "vivit", "vivit")
    saved(tmp_path / "hubert", "hubert")
    (tmp_path / "empty").mkdir()
    cases: list[tuple[str, Modality, str, dict[str, Any], str]] = [
        ("swin", CLIP, "empty", {}, "no weights of transformers can be read there"),
        ("swin", CLIP, "absent", {}, "no weights of transformers can be read there"),
        ("swin", CLIP, "vivit", {}, "are of the kind vivit; this encoder needs swin"),
        ("swin", Modality((4, 1, 32, 32)), "swin", {}, "are for 3 channels, not for 1"),
        ("swin", CLIP, "swin", {"layers": 1}, r"encoder\.layers is for encoders whose layers are all alike"),
        ("vivit", Modality((4, 3, 48, 48)), "vivit", {}, "are for frames of 32 pixels, not 48"),
        ("vivit", Modality((4, 3, 32, 48)), "", {}, "at least 2 square frames of at least 16 pixels"),
        ("vivit", Modality((1, 3, 32, 32)), "", {}, "not 1 of 32 x 32"),
        ("hubert", Modality((1200, 1), padded=True), "hubert", {}, "does not take padded samples"),
        ("mlp", WAVE, "swin", {}, "weights, layers and frozen are for .*not for mlp"),
        ("conformer", CONFORMER, "", {"frozen": True}, "not for conformer"),
        ("conformer", CONFORMER, "", {"width": 7}, "needs an even width"),
    ]
    for kind, facts, name, settings, message in cases:
        weights = str(tmp_path / name) if name else ""
        with pytest.raises(UserError, match=message):
            encoder_of(kind, facts, weights=weights, **settings)


def test_group_norm_of_given_weights_and_padding_do_not_go_together(tmp_path: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    Wav2Vec2Model(Wav2Vec2Config(**sizes, conv_dim=(8,) * 7, num_conv_pos_embedding_groups=8)).save_pretrained(tmp_path)
    encoder_of("wav2vec2", WAVE, weights=str(tmp_path))
    with pytest.raises(UserError, match="group norm would mix padding into the features"):
        encoder_of("wav2vec2", Modality((1200, 1), padded=True), weights=str(tmp_path))


def test_weights_that_lack_parameters_are_an_error(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    saved(tmp_path, "swin")
    path = tmp_path / "model.safetensors"
    kept = {n: v for n, v in load_file(path).items() if not n.startswith("layernorm")}
    save_file(kept, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lack 2 parameters of the encoder: layernorm\.bias, layernorm\.weight"):
        encoder_of("swin", CLIP, weights=str(tmp_path))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="no weights of transformers can be read there"):
        encoder_of("swin", CLIP, weights=str(tmp_path))


def test_pins_follow_the_content_of_a_folder_and_not_its_place(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
        (tmp_path / name / "README.md").write_text(name)
    one, two = (pinned(str(tmp_path / name), unasked) for name in ("one", "two"))
    assert one != two
    assert content_of(one) == content_of(two)
    assert pinned(one, unasked) == one
    assert place_of(one) == (str(tmp_path / "one"), "main")
    (tmp_path / "one/model.safetensors").write_bytes(b"Weights!")
    assert content_of(pinned(one, unasked)) != content_of(one)
    with pytest.raises(UserError, match="the files there have changed since the run was planned"):
        place_of(one)
    assert pinned("", unasked) == content_of("") == ""


def unasked(name: str, revision: str) -> str | None:
    raise AssertionError(f"{name} {revision}")


def test_names_on_the_hub_are_pinned_to_their_commit() -> None:
    commits = {("a/b", "main"): "c0ffee", ("a/b", "v2"): "decade", ("a/old", "main"): None, ("a/old", "v1"): None}

    def commit(name: str, revision: str) -> str | None:
        return commits[name, revision]

    assert [pinned(name, commit) for name in ("a/b", "a/b@main")] == ["a/b@c0ffee"] * 2
    assert pinned("a/b@v2", commit) == "a/b@decade"
    assert [pinned(name, commit) for name in ("a/old", "a/old@v1")] == ["a/old", "a/old@v1"]
    assert content_of("a/b@c0ffee") == "a/b@c0ffee"
    assert (place_of("a/b@c0ffee"), place_of("a/b")) == (("a/b", "c0ffee"), ("a/b", "main"))


def test_the_library_is_asked_for_the_revision_and_tells_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    class Auto:
        @staticmethod
        def from_pretrained(name: str, revision: str, **_: object) -> object:
            asked.append((name, revision))
            if revision == "gone":
                raise OSError("gone is not a valid git identifier")
            return SimpleNamespace(_commit_hash="c0ffee", model_type="hubert")

    monkeypatch.setattr(whole, "library", lambda: SimpleNamespace(AutoConfig=Auto))
    assert whole.commit_of("a/b", "v2") == "c0ffee"
    assert whole.configuration("hubert", "a/b@v2", {}, {}).model_type == "hubert"
    assert asked == [("a/b", "v2")] * 2
    with pytest.raises(UserError, match=r"encoder\.weights=a/b@gone: no weights .*not a valid git identifier"):
        whole.commit_of("a/b", "gone")


def test_the_content_of_local_weights_is_in_the_key_of_a_run(tmp_path: Path) -> None:
    rng, split = np.random.default_rng(0), np.repeat(["train", "val", "test"], 4)
    frames = rng.normal(size=(12, 4, 3, 32, 32)).astype("float32")
    np.savez(tmp_path / "a.npz", x_v=frames, x_w=rng.normal(size=(12, 3)), y=np.arange(12) % 2, split=split)

    def key(**chosen: str) -> str:
        overrides = {"encoder.v.kind": ["swin"], "encoder.width": ["8"]} | {
            f"encoder.v.{k}": [v] for k, v in chosen.items()
        }
        return make_plan(Request(["joint"], [str(tmp_path / "a.npz")], seeds=[0], overrides=overrides)).runs[0].key

    saved(tmp_path / "swin", "swin")
    first = key(weights=str(tmp_path / "swin"))
    shutil.copytree(tmp_path / "swin", tmp_path / "moved")
    assert first == key(weights=str(tmp_path / "swin")) == key(weights=str(tmp_path / "moved"))
    saved(tmp_path / "swin", "swin", width=16)
    assert len({first, key(weights=str(tmp_path / "swin")), key(), key(frozen="true")}) == 4
