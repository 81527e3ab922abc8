"""Every method stays finite where no sample of a batch has a modality, and the next batch has it again."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.settings.training import EncoderSettings
from mcr_bench.bench.testing.fits import NAMES, SMALL, THREE, make_fit, tiny_split
from mcr_bench.bench.training.evaluation import evaluate
from mcr_bench.bench.training.probes import Probes
from mcr_bench.datasets.base import Batch, Split
from mcr_bench.methods.base import Method
from mcr_bench.tests.methods.golden.teachers import unimodal_runs

TRAINED = [n for n in registry.method_names() if registry.method(n).trains and registry.method(n).role != "unimodal"]
OFFICIAL = [name for name in TRAINED if hasattr(registry.method(name), "official")]
VARIANTS: list[tuple[str, dict[str, str]]] = [
    *((name, {}) for name in TRAINED),
    *((name, {"variant": "official"}) for name in OFFICIAL),
    ("agm", {"masked_pass": "official"}),
    ("mimo-style", {"normalise": "log-ratio"}),
    ("pmr", {"coefficient": "clipped"}),
]
ROWS = 6  # of a batch; of every second one no sample has the modality
LACKED = torch.arange(24) // ROWS % 2 == 0


def batches(split: Split, lacked: str, dropped: bool) -> list[Batch]:
    """Four batches, of which the first and the third have no sample with the modality `lacked`."""
    made = [split.training_batch(index) for index in torch.arange(24).split(ROWS)]
    if not dropped:
        return made
    flags = torch.ones(ROWS, dtype=torch.bool)
    return [replace(b, dropped={lacked: flags}) if LACKED[b.index[0]] else b for b in made]


@pytest.mark.parametrize("dropped", [True, False], ids=["dropped", "absent"])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=[f"{n} {' '.join(s.values())}" for n, s in VARIANTS])
def test_weights_and_what_is_logged_stay_finite(name: str, settings: dict[str, str], count: int, dropped: bool) -> None:
    method: Method = registry.method(name)(**settings)
    if reason := method.needs.unmet(count, THREE):
        pytest.skip(reason)
    names, lacked = NAMES[:count], NAMES[count - 1]
    data, encoder = tiny_split(names), SMALL
    if (name, settings) == ("g2d", {"variant": "official"}):  # which needs convolutions
        data.values = {m: x[:, None, :, None] * torch.ones(6) for m, x in data.values.items() if isinstance(x, Tensor)}
        encoder = build(EncoderSettings, {"kind": "conv2d", "width": 3, "depth": 2})
    if not dropped:
        data.present = {lacked: ~LACKED}
    needed = method.requires(names)
    own = Split(data.values, data.target, data.ids)
    starts = unimodal_runs(names, dtype=torch.float32, encoder=encoder, data=own) if needed else []
    starts += [make_fit(registry.method(r.method)(), r.modalities).model.state_dict() for r in needed[len(names) :]]
    fit = make_fit(method, names, THREE, dependencies=starts, data=data, encoder=encoder)
    probes = None if method.needs.own_heads else Probes(fit.model, fit.device)
    for fit.epoch in (1, 2):
        method.on_epoch_start()
        for batch in batches(fit.train, lacked, dropped):
            fit.step += 1
            method.train_step(batch)
        assert all(p.isfinite().all() for p in fit.model.parameters())
        assert not [key for key, value in fit.meters.means().items() if not math.isfinite(value)]
        fit.model.eval()
        method.on_epoch_end(evaluate(method, fit.model, fit.val, probes, 24))
        fit.model.train()
