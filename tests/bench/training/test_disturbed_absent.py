"""Disturbed inputs where some samples lack a modality: these keep its mean training input and count in no deviation."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel, Outputs
from mcr_bench.bench.testing.fits import NAMES, make_fit, tiny_split
from mcr_bench.bench.training.after.disturbed import deviations, disturbed
from mcr_bench.datasets.base import Split
from mcr_bench.methods.joint import Joint


@dataclass
class Asked(Joint):
    """Joint training that remembers the inputs of every prediction."""

    calls: list[dict[str, Tensor]] = field(default_factory=list)

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        self.calls.append({m: x.clone() for m, x in inputs.values.items()})
        return super().predict(model, inputs)


def lacking(count: int, n: int = 24) -> Split:
    """Every third sample lacks audio, which is 4 there."""
    split = tiny_split(NAMES[:count], n=n, seed=3)
    audio = torch.as_tensor(split.values["audio"]).clone()
    audio[::3] = 4.0
    split.values = {**split.values, "audio": audio}
    split.present = {"audio": torch.arange(n) % 3 != 0}
    return split


@pytest.mark.parametrize("count", [2, 3])
def test_samples_that_lack_a_modality_are_not_disturbed_in_it(count: int) -> None:
    method = Asked()
    fit = make_fit(method, NAMES[:count])
    split = lacking(count)
    made = disturbed(method, fit.model, split, deviations(split, 0, 7), 24)
    intact, *changed = method.calls
    gone = (intact["audio"] == 4.0).all(1)
    assert gone.sum() == 8
    for inputs in changed:
        assert torch.equal(inputs["audio"][gone], intact["audio"][gone])
    of_audio = [inputs["audio"] for inputs in changed if not torch.equal(inputs["audio"], intact["audio"])]
    assert len(of_audio) == 3 + 5  # levels of noise and permutations
    for permuted in of_audio[3:]:
        whose = (permuted[~gone][:, None] == intact["audio"][~gone]).all(2)
        assert (whose.sum(0) == 1).all()  # a permutation of the samples that have it
        assert not whose.diagonal().any()
    assert torch.equal(made.intact[gone], made.noisy["audio", 2.0][gone])


def test_deviations_are_over_the_samples_that_have_the_modality() -> None:
    split = lacking(2)
    found = deviations(split, 0, 5)
    having = torch.as_tensor(split.values["audio"])[split.present["audio"]].double()
    np.testing.assert_allclose(found["audio"][0], np.std(having.numpy(), 0), rtol=1e-6)
    np.testing.assert_allclose(
        found["video"][0], np.std(torch.as_tensor(split.values["video"]).double().numpy(), 0), rtol=1e-6
    )


def test_a_chunk_in_which_no_or_one_sample_has_the_modality_keeps_it() -> None:
    method = Asked()
    fit = make_fit(method)
    split = lacking(2, n=4)
    split.present = {"audio": torch.arange(4) == 2, "video": torch.zeros(4, dtype=torch.bool)}
    made = disturbed(method, fit.model, split, deviations(split, 0, 5), 4)
    for m in NAMES[:2]:
        assert all(torch.equal(z, made.intact) for z in made.exchanged[m])
