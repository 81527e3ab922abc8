"""Pre-trained encoders: the shapes of the paper's table, what is drawn, dropout, padding, kinds by shape."""

import copy
import sys

import pytest
import torch
from torch import nn

from mcr_bench.bench.core.seeds import initialise
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.build import fitting_kinds
from mcr_bench.bench.models.kinds import pretrained
from mcr_bench.bench.settings.training import EncoderSettings
from mcr_bench.datasets.base import Modality
from mcr_bench.tests.support.runs.named_nets import make_encoder
from mcr_bench.tests.support.runs.small_backbones import (
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

# The shapes of the paper's table, waveforms at 16 kHz; the encoders are narrower and shallower than the paper's.
PAPER = [
    ("resnet18", Modality((1, 257, 188))),
    ("resnet18", Modality((1, 257, 1004))),
    ("resnet18", Modality((1, 257, 136))),
    ("resnet18", Modality((3, 3, 224, 224))),
    ("resnet18", Modality((4, 3, 224, 224))),
    ("wav2vec2", Modality((48_000, 1))),
    ("wav2vec2-conformer", Modality((48_000, 1))),
    ("wav2vec2-conformer", Modality((48_000, 1), padded=True)),
    ("hubert", Modality((160_000, 1))),
    ("hubert", Modality((160_000,))),
    ("conformer", Modality((150, 1408), padded=True)),
    ("vivit", Modality((10, 3, 224, 224))),
    ("swin", Modality((16, 3, 224, 224))),
]


@pytest.mark.parametrize(("kind", "facts"), PAPER)
def test_every_shape_of_the_papers_table_goes_forward_and_backward(kind: str, facts: Modality) -> None:
    encoder = encoder_of(kind, facts, depth=1 if kind == "swin" else 2).train()
    features = encoder(*sample(facts))
    assert features.shape == (2, 6)
    (features * torch.randn(6, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    if kind != "resnet18":
        assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("kind", PRETRAINED)
def test_blank_frames_and_silence_have_gradients_of_an_ordinary_size(kind: str) -> None:
    encoder = encoder_of(kind, SMALL[kind], width=32, depth=4).train()
    (encoder(torch.zeros(2, *SMALL[kind].shape)) * torch.arange(1.0, 7.0)).sum().backward()
    assert max(float(p.grad.abs().max()) for p in encoder.parameters() if p.grad is not None) < 1e6


@pytest.mark.parametrize("kind", [*PRETRAINED, "conformer"])
def test_the_seed_and_the_name_alone_decide_what_is_drawn(kind: str) -> None:
    facts = SMALL.get(kind, CONFORMER)
    first = nn.ModuleDict({"x": make_encoder(kind, facts, 6, EncoderSettings(width=8, depth=1))})
    torch.manual_seed(5)
    second = nn.ModuleDict({"other": nn.Linear(2, 2), "x": copy.deepcopy(first["x"])})
    before = torch.get_rng_state()
    initialise(first, 3)
    initialise(second, 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert_state(second["x"], first["x"].state_dict())
    initialise(second, 4)
    changed = [n for n, p in second["x"].named_parameters() if not torch.equal(p, first["x"].get_parameter(n))]
    matrices = [n for n, p in second["x"].named_parameters() if p.ndim > 1 and p.any() and "original0" not in n]
    assert set(matrices) <= set(changed)


@pytest.mark.parametrize("kind", [*PRETRAINED, "conformer"])
def test_training_passes_repeat_without_dropout_and_differ_with_it(kind: str) -> None:
    """No masking and no layer drop, whose draws no seed reaches."""
    facts = SMALL.get(kind, CONFORMER)
    plain = encoder_of(kind, facts, depth=2).train()
    torch.testing.assert_close(plain(*sample(facts)), plain(*sample(facts)), rtol=0, atol=0)
    dropping = encoder_of(kind, facts, depth=2, dropout=0.5).train()
    assert not torch.equal(dropping(*sample(facts)), dropping(*sample(facts)))
    dropping.eval()
    torch.testing.assert_close(dropping(*sample(facts)), dropping(*sample(facts)), rtol=0, atol=0)


def test_the_defaults_of_swin_at_width_96_are_swin_t() -> None:
    with torch.device("meta"):
        encoder = make_encoder("swin", Modality((16, 3, 224, 224)), 768, EncoderSettings(kind="swin", width=96))
    model = model_in(encoder)
    assert sum(p.numel() for p in model.parameters()) == 27_519_354  # the published 28,288,354 less its classifier
    assert (model.config.num_heads, model.config.window_size) == ([3, 6, 12, 24], 7)


@pytest.mark.parametrize(("kind", "frame"), [("conformer", (3,)), ("wav2vec2", (1,)), ("wav2vec2-conformer", (1,))])
def test_features_depend_neither_on_the_length_nor_on_the_content_of_padding(kind: str, frame: tuple[int, ...]) -> None:
    unit = 1 if kind == "conformer" else 320
    encoder = encoder_of(kind, Modality((40 * unit, *frame), padded=True), depth=2).double().eval()
    length = 20 * unit + 100 % unit
    own = torch.randn(1, length, *frame, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    alone = encoder(own, torch.tensor([length]))
    torch.testing.assert_close(alone, encoder(own))
    for steps in (length + 1, 30 * unit, 40 * unit):
        padded = torch.full((2, steps, *frame), 7.0, dtype=torch.double)
        padded[0, :length] = own[0]
        features = encoder(padded, torch.tensor([length, steps]))
        torch.testing.assert_close(features[:1], alone, rtol=1e-9, atol=1e-10)


def test_waveforms_shorter_than_a_frame_give_finite_features() -> None:
    encoder = encoder_of("wav2vec2", Modality((1200, 1), padded=True)).eval()
    assert encoder(sample(WAVE)[0], torch.tensor([1, 399])).isfinite().all()


@pytest.mark.parametrize("kind", [*PRETRAINED, "conformer"])
def test_samples_of_a_batch_do_not_see_each_other_in_evaluation(kind: str) -> None:
    facts = SMALL.get(kind, CONFORMER)
    encoder = encoder_of(kind, facts).eval()
    values, lengths = sample(facts)
    alone = encoder(values[:1], None if lengths is None else lengths[:1])
    torch.testing.assert_close(encoder(values, lengths)[:1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("facts", "offered"),
    [
        (Modality((48_000, 1)), {"wav2vec2", "wav2vec2-conformer", "hubert", "conformer"}),
        (Modality((48_000,)), {"wav2vec2", "wav2vec2-conformer", "hubert"}),
        (Modality((48_000, 1), padded=True), {"wav2vec2", "wav2vec2-conformer", "conformer"}),
        (Modality((399, 1)), {"conformer"}),
        (Modality((1000,)), {"wav2vec2", "wav2vec2-conformer", "hubert"}),
        (Modality((100,)), set()),
        (Modality((150, 1408), padded=True), {"conformer"}),
        (Modality((3, 64, 64)), {"swin"}),
        (Modality((10, 3, 64, 64)), {"vivit", "swin"}),
        (Modality((10, 3, 64, 64), padded=True), {"swin"}),
    ],
)
def test_kinds_are_offered_by_shape(facts: Modality, offered: set[str]) -> None:
    assert set(fitting_kinds(facts)) & {*PRETRAINED, "conformer"} == offered


def test_a_missing_library_is_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    for kind in (*PRETRAINED, "conformer"):
        with pytest.raises(UserError, match=r"pip install 'mcr-bench\[backbones\]'"):
            make_encoder(kind, SMALL.get(kind, CONFORMER), 6, EncoderSettings())
