"""Predictions for disturbed inputs: noise on one modality at a time, and one modality's inputs exchanged over samples.

They tell how much a model relies on a modality. One pass over a part, chunk by chunk, serves both: the encoders run
once on the intact inputs, each once more per level of noise, and not at all for exchanged inputs.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mcr_bench.bench.core import seeds
from mcr_bench.bench.models.memory import EncoderMemory
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel
from mcr_bench.bench.problem.metrics import Metric, profit_metrics
from mcr_bench.bench.problem.samples import channel_axis, channel_rows
from mcr_bench.bench.task import Task
from mcr_bench.bench.training.reader import reading
from mcr_bench.bench.training.subsets import predicted
from mcr_bench.datasets.base import Split
from mcr_bench.methods.base import Method

LEVELS = (0.5, 1.0, 2.0)  # deviations of the noise over those of the training inputs (our choice)
PERMUTATIONS = 5  # per modality (our choice); each is over all samples of a chunk
MOST = 1000  # samples, drawn alike for all methods: an accuracy of them is exact to 1.6 points at most (our choice)


@dataclass
class Disturbed:
    """Predictions (n, C) for n samples of a part, in the user's unit.

    target: their labels, (n,).
    intact: for the inputs as they are.
    noisy: (modality, level) -> with noise of that level on the inputs of the modality.
    exchanged: modality -> with another sample's inputs of the modality, for several permutations.
    """

    target: Tensor
    intact: Tensor
    noisy: dict[tuple[str, float], Tensor] = field(default_factory=dict)
    exchanged: dict[str, list[Tensor]] = field(default_factory=dict)


class _Moments:
    """Sums over the real steps of samples, per channel, in float64."""

    def __init__(self) -> None:
        self._count, self._shape = 0, list[int]()
        self._sum: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0

    def add(self, x: Tensor, real: Tensor | None, having: Tensor | None) -> None:
        """Add samples (B, ...). real: (B, T, 1), which steps count; None for all. having: (B,), which samples count."""
        channel = channel_axis(x)
        if having is not None:
            x, real = x[having], None if real is None else real[having]
        rows = channel_rows(x, real).double()
        self._shape = [size if axis == channel else 1 for axis, size in enumerate(x.shape)]
        self._count += len(rows)
        self._sum = self._sum + rows.sum(0)
        self._squares = self._squares + rows.square().sum(0)

    def deviation(self) -> Tensor:
        """(1, ..., C, ...)"""
        count = max(1, self._count)
        variance = torch.as_tensor(self._squares / count) - torch.as_tensor(self._sum / count).square()
        return variance.clamp(min=0.0).sqrt().reshape(self._shape)


@torch.no_grad()
def deviations(train: Split, seed: int, chunk: int) -> dict[str, Tensor]:
    """Modality -> the standard deviation of each channel of its inputs, of a shape that broadcasts to (N, ...).

    It is taken over at most `MOST` training samples, drawn by the seed and read `chunk` at a time. Padded steps do not
    count, nor do samples that lack the modality. Modalities whose inputs are not floating-point numbers are left out.
    """
    drawn = torch.randperm(len(train), generator=seeds.generator(seed, "method", "deviations"))[:MOST]
    moments: dict[str, _Moments] = {}
    with reading(train, drawn, chunk) as chunks:
        for index in chunks:
            inputs = train.batch(index).inputs
            for m, x in inputs.values.items():
                if x.is_floating_point():
                    moments.setdefault(m, _Moments()).add(x, _real(inputs, m), inputs.present.get(m))
    return {m: sums.deviation() for m, sums in moments.items()}


@torch.no_grad()
def disturbed(
    method: Method, model: MultimodalModel, split: Split, deviation: Mapping[str, Tensor], chunk: int
) -> Disturbed:
    """Predict at most `MOST` samples of `split` from intact and disturbed inputs, `chunk` or a few more at a time.

    deviation: of the noise of level 1, see `deviations`; a modality without one gets no noise. Samples that lack a
    modality keep its mean training input: they get no noise, and the others are exchanged among themselves. ValueError
    for a part of one sample, which has nothing to exchange.
    """
    seed, count = method.fit.seed, min(len(split), MOST)
    if count < 2:
        raise ValueError("inputs cannot be exchanged in a part of one sample")
    drawn = torch.randperm(len(split), generator=seeds.generator(seed, "method", "disturbed"))[:count]
    memory, rows = EncoderMemory(), dict[tuple[str, str, float], list[Tensor]]()
    with reading(split, drawn, _even(count, chunk)) as chunks:
        for place, index in enumerate(chunks):
            inputs = split.batch(index).inputs
            for name, changed in _variants(inputs, deviation, memory, seed, place):
                with model.remembering(memory), method.fit.autocast():
                    rows.setdefault(name, []).append(predicted(method, model, changed).logits.float())
                memory.forget_all_but([inputs])
            memory.forget_all_but([])
    logits = {name: model.task.user(torch.cat(of_chunks)) for name, of_chunks in rows.items()}
    made = Disturbed(split.labels[drawn.to(split.labels.device)], logits.pop(("intact", "", 0.0)))
    for (kind, m, number), prediction in logits.items():
        if kind == "noisy":
            made.noisy[m, number] = prediction
        else:
            made.exchanged.setdefault(m, []).append(prediction)
    return made


def disturbed_metrics(made: Disturbed, task: Task, missing: dict[str, str]) -> dict[str, float]:
    """The metrics of intact and disturbed predictions, by their names in the record without the part.

    `perceptual/MODALITY/METRIC` follows the perceptual score of Gat et al. (NeurIPS 2021, arXiv 2110.14375): what is
    lost when the modality's test inputs are permuted, its expectation estimated by a mean over permutations. Here it is
    a share of what the model reaches, (intact - permuted) / intact. This division is our choice (unverified against the
    paper; its released code prints the plain difference), as are permutations in which no sample keeps its own. It is
    defined for metrics of which higher values are better. What is missing is added to `missing`.
    """
    metrics: dict[str, float] = {}
    for metric in profit_metrics(task):
        metrics[f"intact/{metric.name}"] = intact = metric.of(made.intact, made.target)
        for (m, level), logits in made.noisy.items():
            _add(metrics, missing, f"noise/{m}/{level:g}/{metric.name}", metric, [logits], made.target)
        for m, several in made.exchanged.items():
            _add(metrics, missing, name := f"permuted/{m}/{metric.name}", metric, several, made.target)
            if name not in metrics or not metric.higher_is_better:
                continue
            if intact > 0:
                metrics[f"perceptual/{m}/{metric.name}"] = (intact - metrics[name]) / intact
            else:
                missing[f"perceptual/{m}/{metric.name}"] = f"{metric.name} of intact inputs is not above 0"
    return metrics


def _add(
    metrics: dict[str, float], missing: dict[str, str], name: str, metric: Metric, several: list[Tensor], target: Tensor
) -> None:
    if not all(logits.isfinite().all() for logits in several):
        missing[name] = "its logits are not finite"
        return
    metrics[name] = math.fsum(metric.of(logits, target) for logits in several) / len(several)


def _variants(
    inputs: Inputs, deviation: Mapping[str, Tensor], memory: EncoderMemory, seed: int, place: int
) -> Iterator[tuple[tuple[str, str, float], Inputs]]:
    """The intact inputs of a chunk, and all that are made of them; `memory` knows the features of exchanged ones."""
    yield ("intact", "", 0.0), inputs.copy()
    for m, x in inputs.values.items():
        if m in deviation:
            noise = _of_present(_noise(x, deviation[m], _real(inputs, m), seed, m, place), inputs.present.get(m))
            for level in LEVELS:
                yield ("noisy", m, level), inputs.copy().replace({m: x + level * noise})
        for number in range(PERMUTATIONS):
            draw = seeds.generator(seed, "method", "exchanged", m, number, place)
            index = _partners(len(x), inputs.present.get(m), draw).to(x.device)
            exchanged = _exchanged(inputs, m, index)
            memory.rearrange(x, exchanged.values[m], exchanged.lengths.get(m), index)
            yield ("exchanged", m, float(number)), exchanged


def _exchanged(inputs: Inputs, m: str, index: Tensor) -> Inputs:
    """The inputs with those of one modality, and all that is known of them, taken from the samples at `index`."""
    changed = inputs.copy()
    for tensors in (changed.values, changed.lengths, changed.present):
        if m in tensors:
            tensors[m] = tensors[m][index]
    return changed


def _noise(x: Tensor, deviation: Tensor, real: Tensor | None, seed: int, m: str, place: int) -> Tensor:
    """Noise (B, ...) of level 1 for inputs x (B, ...), drawn on their device; 0 in padded steps."""
    draw = seeds.generator(seed, "method", "noise", m, place, device=x.device)
    noise = torch.randn(x.shape, generator=draw, device=x.device, dtype=x.dtype) * deviation.to(x)
    return noise if real is None else noise * real


def _of_present(noise: Tensor, having: Tensor | None) -> Tensor:
    """Noise (B, ...), 0 for samples at which `having` (B,) is not set."""
    return noise if having is None else noise * having.reshape(-1, *[1] * (noise.ndim - 1))


def _partners(count: int, having: Tensor | None, draw: torch.Generator) -> Tensor:
    """(count,) int64: `_others` of the samples at which `having` is set; the others keep their places."""
    if having is None:
        return _others(count, draw)
    places, index = having.cpu().nonzero().flatten(), torch.arange(count)
    index[places] = places[_others(len(places), draw)]
    return index


def _others(count: int, draw: torch.Generator) -> Tensor:
    """(count,) int64: a random permutation of one cycle, in which no sample keeps its place."""
    order = torch.randperm(count, generator=draw)
    others = torch.empty_like(order)
    others[order] = order.roll(1)
    return others


def _even(count: int, chunk: int) -> int:
    """The size of chunks of nearly `chunk` samples, of which none, the last included, has only one sample."""
    size = max(2, math.ceil(count / math.ceil(count / chunk)))
    while count % size == 1:
        size += 1
    return size


def _real(inputs: Inputs, m: str) -> Tensor | None:
    """(B, T, 1) bool: which steps of a padded modality are real; None for others."""
    lengths, x = inputs.lengths.get(m), inputs.values[m]
    if lengths is None:
        return None
    return (torch.arange(x.shape[1], device=x.device) < lengths.to(x.device)[:, None])[..., None]
