"""What a finished run tells the record beside its results: its costs, and how it was computed."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from torch.optim import Optimizer

from mcr_bench.bench.core import device as devices
from mcr_bench.bench.core import memory
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.problem.missing import diagnostic
from mcr_bench.bench.training.compiling import Compiled
from mcr_bench.bench.training.optim import is_fused

MOST = 500  # characters of a reason; the run's log has all


def rounding_tags(
    optimizer: Optimizer, channels_last: Iterable[str], compiled: Mapping[str, Compiled]
) -> dict[str, str]:
    """Tag -> text: whether the optimiser is fused and cuDNN chooses by time, and how encoders are computed.

    channels_last: the modalities whose encoders are laid out so. compiled: modality -> its encoder's `forward`, where
    it was asked to be compiled. Tags of no encoder are left out.
    """
    failures = "; ".join(f"{m}: {forward.failure}" for m, forward in compiled.items() if forward.failure)
    of_encoders = {
        "rounding/channels_last": ",".join(channels_last),
        "rounding/compiled": ",".join(m for m, forward in compiled.items() if not forward.failure),
        "rounding/not_compiled": failures[:MOST],
    }
    return {
        "rounding/fused": str(is_fused(optimizer)).lower(),
        "rounding/benchmark": str(devices.tries_algorithms()).lower(),
        **{tag: text for tag, text in of_encoders.items() if text},
    }


def costs_of(
    fit: Fit, epochs: Sequence[Mapping[str, float]], seconds: float, missing: dict[str, str]
) -> dict[str, float]:
    """What a run cost: seconds, encoder passes per step (1 = the batch once through each encoder), peak memory.

    epochs: the metrics of each epoch. seconds: the time that training took. missing: diagnostic -> why it is missing.
    """
    costs = {"cost/seconds": seconds, "cost/seconds_per_step": seconds / max(1, fit.step)}
    for name in ("forward", "backward"):
        passes = [metrics.get(f"train/encoder_passes/{name}", 0.0) for metrics in epochs]
        costs[f"cost/encoder_{name}s"] = sum(passes) / max(1, len(passes))
    peak = diagnostic(missing, "cost/peak_memory_mib", partial(memory.peak_mib, fit.device))
    return costs | ({} if peak is None else {"cost/peak_memory_mib": peak})
