"""AGM's passes on zeros: replayed from a CUDA graph they are plain passes, also after the weights have changed."""

from collections.abc import Callable

import torch
from torch import Tensor

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.perf.measured import machine
from mcr_bench.bench.perf.workloads import Workload, training_run
from mcr_bench.bench.training.loop import train_epoch
from mcr_bench.methods.terms.modes import evaluation_mode
from mcr_bench.methods.terms.zeros import zero_features, zero_graph
from mcr_bench.tests.gpu.checks import Place

IMAGES = Workload({"m1": (1, 65, 47), "m2": (3, 64, 64)}, 8, 32, "resnet18", 64)
TOLERANCE = 1e-4  # of the norm of all features, and of all gradients, in fp32


def graph_of_zeros(place: Place) -> str:
    """The graph follows the weights through an epoch of training, in features and gradients."""
    place.require_gpu("there are no CUDA graphs on a CPU")
    run = training_run(machine(place.name), IMAGES, registry.method("agm"))
    fit, modalities = run.fit, list(IMAGES.shapes)
    graph = zero_graph(fit, modalities)
    assert graph is not None, "no graph was made; a warning says why"
    train_epoch(run)
    inputs = fit.train.batch(torch.arange(2, device=fit.device)).inputs
    plain = _vectors(fit, lambda: {m: zero_features(fit.model, inputs, m) for m in modalities})
    replayed = _vectors(fit, graph)
    shares = [float((a - b).norm() / a.norm()) for a, b in zip(plain, replayed, strict=True)]
    assert max(shares) <= TOLERANCE, f"features and gradients differ by {shares} of their norm"
    return f"features and gradients within {max(shares):.1e} of their norm"


def _vectors(fit: Fit, zeros: Callable[[], dict[str, Tensor]]) -> tuple[Tensor, Tensor]:
    """Features of zeros, and the gradients of the sum of their squares, each as one vector."""
    parameters = list(fit.model.encoders.parameters())
    with evaluation_mode(fit.model.encoders):
        features = torch.cat([f.flatten() for f in zeros().values()])
    gradients = torch.autograd.grad(features.square().sum(), parameters, materialize_grads=True)
    return features.detach().clone(), torch.cat([g.flatten() for g in gradients])
