"""The same numbers on CPU and GPU within a tolerance, and with a compiled encoder."""

import numpy as np
import torch

from mcr_bench.bench.training.loop import Training, start, train_epoch
from mcr_bench.tests.gpu.checks import Place
from mcr_bench.tests.gpu.training import array_file, job_of, planned

# Plain SGD: a step of Adam divides by the size of a gradient, so that one of size 0 turns rounding into a whole step.
# No dropout: its masks are drawn on the device.
PLAIN = {"optimizer__name": "sgd", "optimizer__momentum": "0.0", "optimizer__lr": "0.05", "encoder__dropout": "0"}
AFTER_ONE, AFTER_EPOCH = 1e-5, 1e-3  # largest difference of a weight over the largest weight of its tensor


def agreement(place: Place) -> str:
    """Training in fp32 on the CPU and here: equal initial weights, then differences by rounding alone.

    The methods are some that draw no random numbers on the device, as those differ between devices.
    """
    file, told = array_file(place.folder), []
    for method in ("joint", "agm", "ogm"):
        for title, batch, most in (("a step", "1000", AFTER_ONE), ("an epoch", "16", AFTER_EPOCH)):
            spec = planned([method], str(file), 1, batch_size=batch, **PLAIN).runs[-1]
            runs = [start(job_of(spec, device, place.folder / device / batch)) for device in ("cpu", place.name)]
            before, other = (_weights(run.fit.model) for run in runs)
            assert all(torch.equal(before[name], other[name]) for name in before), "initial weights differ"
            for run in runs:
                _train_epoch(run)
            ours, theirs = (_weights(run.fit.model) for run in runs)
            assert any(not torch.equal(before[name], ours[name]) for name in before), "nothing was trained"
            largest = max(_difference(ours[name], theirs[name]) for name in ours)
            assert largest <= most, f"{method} differs by {largest:.1e} after {title}; at most {most:.0e} is expected"
            told.append(f"{method} after {title} {largest:.1e}")
    return "largest relative difference: " + ", ".join(told)


def compiled(place: Place) -> str:
    """An encoder of images with compile=true trains to nearly the weights of one without; or why it cannot."""
    file = array_file(place.folder)
    told, trained = "", []
    for asked in ("false", "true"):
        spec = planned(["joint"], str(file), 1, encoder__face__compile=asked, **PLAIN).runs[-1]
        run = start(job_of(spec, place.name, place.folder / asked))
        _train_epoch(run)
        trained.append(_weights(run.fit.model))
        told = "; ".join(f"{m}: {one.failure or 'compiled'}" for m, one in run.compiled.items())
    largest = max(_difference(trained[0][name], x) for name, x in trained[1].items())
    assert largest <= AFTER_EPOCH, f"weights differ by {largest:.1e}; at most {AFTER_EPOCH:.0e} is expected"
    assert told, "nothing was asked to be compiled"
    return f"{told}; largest relative difference {largest:.1e}"


def _train_epoch(run: Training) -> None:
    run.fit.epoch = 1
    run.fit.model.train()
    run.method.on_epoch_start()
    train_epoch(run)


def _weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().cpu().clone() for name, p in model.named_parameters()}


def _difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / max(1e-3, float(np.abs(a.numpy()).max())))
