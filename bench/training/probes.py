"""Probe heads: linear heads on detached features, which give per-modality results of methods that train no own heads.

They have an optimiser of their own and draw no random numbers, so they cannot change what a method learns.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from mcr_bench.bench.core.precision import full_precision
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.problem.missing import diagnostic
from mcr_bench.bench.task import Task
from mcr_bench.bench.training.linear_head import fit_linear

MOST_ROWS = 10_000  # samples whose features are kept per epoch: enough for a linear head, and little memory


class FeatureStore:
    """Keeps the features of every training step's first pass through each encoder, with their targets.

    A pass of one sample more than the batch has ends with a method's own, such as one of zeros.
    """

    def __init__(self, model: MultimodalModel) -> None:
        self._rows: dict[str, list[tuple[Tensor, Tensor]]] = {m: [] for m in model.encoders}
        self._having: dict[str, list[Tensor]] = {m: [] for m in model.encoders}
        self._target: Tensor | None = None
        self._present: Mapping[str, Tensor] = {}
        self._own: Mapping[str, Tensor] = {}
        self._seen: set[str] = set()
        for m, encoder in model.encoders.items():
            encoder.register_forward_hook(self._hook(m))

    def expect(
        self,
        target: Tensor,
        present: Mapping[str, Tensor] | None = None,
        own: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Begin a training step with these targets, (B,). present: modality -> (B,) bool, the samples that have it.

        own: modality -> (B,), its own targets where they differ.
        """
        self._target, self._present, self._own, self._seen = target, present or {}, own or {}, set()

    def take(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Modality -> features (N, d) and targets (N,) of samples that have it, of the steps since the last call."""
        taken = {m: self._taken(m) for m, rows in self._rows.items() if rows}
        for m in self._rows:
            self._rows[m], self._having[m] = [], []
        self._target = None
        return taken

    def _taken(self, m: str) -> tuple[Tensor, Tensor]:
        features, target = (torch.cat(parts) for parts in zip(*self._rows[m], strict=True))
        if not self._having[m]:
            return features, target
        having = torch.cat(self._having[m])
        return features[having], target[having]

    def _hook(self, m: str) -> Callable[[nn.Module, object, Tensor], None]:
        def keep(_module: nn.Module, _inputs: object, features: Tensor) -> None:
            rows, target = self._rows[m], self._target
            if target is None or m in self._seen or not 0 <= len(features) - len(target) <= 1:
                return
            self._seen.add(m)
            if len(rows) * len(target) < MOST_ROWS:
                rows.append((features[: len(target)].detach().float(), self._own.get(m, target)))
                if m in self._present:
                    self._having[m].append(self._present[m])

        return keep


class Probes:
    """One linear head per modality, fitted by L-BFGS from its present weights, which are zero at first.

    task: what is learned.
    heads: modality -> its head.
    failures: modality -> why its last fit failed; its head then gives no logits, and the next fit starts from zeros.
    """

    def __init__(self, model: MultimodalModel, device: torch.device) -> None:
        self.task = model.task
        self.heads = {m: _zero_head(model.width, model.task, device) for m in model.encoders}
        self.failures: dict[str, str] = {}

    def fit(self, stored: Mapping[str, tuple[Tensor, Tensor]], iterations: int) -> None:
        """Fit the heads by this many iterations on stored features (N, d) and targets (N,).

        No error is raised: `failures` says which fits failed.
        """
        self.failures = {}
        for m, (features, target) in stored.items():
            head = self.heads[m]
            diagnostic(self.failures, m, partial(self.fit_head, head, features, target, iterations))
            if not all(p.isfinite().all() for p in head.parameters()):
                self.failures[m] = "its weights are not finite"
            if m in self.failures:
                self.failures[m] = f"the probe head diverged ({self.failures[m]})"
                _to_zeros(head)

    def logits(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Modality -> logits (B, C) of its head for features (B, d), without the heads that failed.

        They are computed in full precision even under autocast, as the heads were fitted.
        """
        device = next(iter(self.heads.values())).weight.device
        with torch.no_grad(), full_precision(device):
            return {m: self.heads[m](f.float()) for m, f in features.items() if m not in self.failures}

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Modality -> the state dict of its head."""
        return {m: head.state_dict() for m, head in self.heads.items()}

    def load_state_dict(self, state: Mapping[str, dict[str, Tensor]]) -> None:
        """Give every head the weights that `state_dict` returned."""
        for m, head in self.heads.items():
            head.load_state_dict(state[m])

    def fit_head(self, head: nn.Linear, features: Tensor, target: Tensor, iterations: int) -> None:
        """Fit one head to features (N, d) and targets (N,) by at most `iterations` of L-BFGS."""
        fit_linear(head, features, target, self.task, iterations)


def _zero_head(width: int, task: Task, device: torch.device) -> nn.Linear:
    with torch.device("meta"):  # makes no draw from the global generator
        head = nn.Linear(width, task.outputs)
    head = head.to_empty(device=device)
    _to_zeros(head)
    return head


def _to_zeros(head: nn.Linear) -> None:
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
