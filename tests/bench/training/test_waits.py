"""No training step makes the host wait for a GPU, whichever the method and the encoder; what would is seen."""

from typing import Any

import pytest
import torch
from torch import Tensor

from mcr_bench.bench import settings
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.seeds import initialise
from mcr_bench.bench.models.build import made
from mcr_bench.bench.models.declared import Encoder
from mcr_bench.bench.models.kinds import encoder_kinds
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit
from mcr_bench.bench.testing.waits import META, Waits, waits
from mcr_bench.methods.base import Method
from mcr_bench.methods.joint import Joint

TRAINED = [n for n in registry.method_names() if registry.method(n).trains]
CLASSES, SCORES = Task(3), Task(None)
VARIANTS = [
    ("mcr", {"perturb": "noise_input", "noise_std": "released", "latents": "eval"}),
    ("mcr", {"perturb": "zero_input", "strategy": "collaborative", "detach_reference": "released"}),
    ("mcr", {"lambda_ceb": 0.1, "positives": "bins"}),
    ("agm", {"masked_pass": "official", "zero_path": "detach", "clip": False}),
    ("mlb", {"apply_to": "lr"}),
    ("ogm-ge", {"all_parameters": True, "apply_to": "lr"}),
    ("ogm", {"end": 2}),
]
SHAPES = {1: (12,), 2: (20, 6), 3: (3, 40, 40), 4: (2, 3, 40, 40)}
OF_THE_HARNESS = sorted(name for name, kind in encoder_kinds().items() if not kind.extra)


def of_method(name: str, count: int, task: Task, **options: Any) -> list[str]:
    cls = registry.method(name)
    names = NAMES[: 1 if cls.role == "unimodal" else count]
    if cls.needs.unmet(len(names), task):
        pytest.skip("cannot run on this")
    method = settings.build(cls, options.pop("values", {}))
    needed = [
        make_fit(registry.method(r.method)(), r.modalities, task).model.state_dict() for r in method.requires(names)
    ]
    make_fit(method, names, task, dependencies=needed, **options)
    return waits(method)


@pytest.mark.parametrize("name", TRAINED)
def test_no_method_waits_where_scores_are_learned(name: str) -> None:
    """Beside classes, where the kit's `no-waits` asks the same."""
    assert of_method(name, 2, SCORES, optimizer__name="adamw", clip_norm=1.0) == []


@pytest.mark.parametrize("name", ["agm", "mcr", "mlb"])
def test_no_method_waits_with_many_modalities(name: str) -> None:
    assert of_method(name, 5, CLASSES) == []
    assert of_method(name, 3, CLASSES, fusion="gated", optimizer__name="sgd") == []


@pytest.mark.parametrize(("name", "values"), VARIANTS)
def test_no_variant_waits(name: str, values: dict[str, Any]) -> None:
    assert of_method(name, 2, CLASSES, values=values) == []


@pytest.mark.parametrize("kind", OF_THE_HARNESS)
@pytest.mark.parametrize("padded", [False, True])
def test_no_encoder_waits(kind: str, padded: bool) -> None:
    declared = encoder_kinds()[kind]
    allowed = declared.padded if padded else declared.axes
    for axes in allowed:
        shape = (SHAPES[axes][0], 1) if declared.ids else SHAPES[axes]
        modality = Modality(shape, padded=padded, vocabulary=9 if declared.ids else 0)
        values = {"kind": kind, "width": 8, "depth": 1, "dropout": 0.1}
        module = made(Encoder(declared, values), modality, 6)
        initialise(module, 0)
        module.to(META).train()
        x = torch.zeros(4, *shape, dtype=torch.int64 if declared.ids else torch.float32, device=META)
        lengths = torch.ones(4, dtype=torch.int64, device=META) if padded else None
        with Waits() as noted:
            module(x, lengths).sum().backward()
        assert noted.seen == []


class Reads(Joint):
    """Joint training that does one thing more in each step."""

    name = "reads"
    what = ""

    def loss(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        losses = super().loss(outputs, batch)
        z, host = outputs.logits.detach(), torch.ones(len(batch.target))
        extra: dict[str, Any] = {
            "item": lambda: losses["fused"] * float(z.mean()),
            "branch": lambda: losses["fused"] * (2.0 if z.mean() > 0 else 1.0),
            "rows": lambda: z[batch.target == 1].mean(),
            "equal": lambda: 1.0 * torch.equal(z, z),
            "to the device": lambda: torch.tensor([1.0, 2.0]).to(z.device).sum(),
            "to the host": lambda: z.sum().to("cpu"),
            "mixed": lambda: (z[:, 0] * host).sum(),
            "in time": lambda: host.to(z.device, non_blocking=True).sum(),
            "from numbers": lambda: losses["fused"] * z.new_tensor([0.5]),
            "a tensor of numbers": lambda: torch.tensor([0.5], device=z.device).sum(),
            "a decomposition": lambda: torch.linalg.eigh(z.T @ z)[0].sum(),
            "a number of the host": lambda: losses["fused"] * torch.tensor(0.5),
        }
        extra[self.what]()
        return losses


@pytest.mark.parametrize(
    ("what", "seen"),
    [
        ("item", "_local_scalar_dense"),
        ("branch", "_local_scalar_dense"),
        ("rows", "index by a mask"),
        ("equal", "equal"),
        ("to the device", "_to_copy between host and device"),
        ("to the host", "_to_copy between host and device"),
        ("mixed", "mul of tensors of host and device"),
        ("from numbers", "new_tensor of numbers of the host"),
        ("a tensor of numbers", "tensor of numbers of the host"),
        ("a decomposition", "_linalg_eigh"),
        ("in time", ""),
        ("a number of the host", ""),
    ],
)
def test_what_waits_is_seen(what: str, seen: str) -> None:
    method: Method = type("Once", (Reads,), {"what": what})()
    make_fit(method)
    found = waits(method)
    assert set(found) == ({seen} if seen else set())
    assert what not in ("item", "branch") or len(found) == 2  # once in each of the two steps that are watched
