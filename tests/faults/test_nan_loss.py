"""A training whose loss is no longer a number."""

import math
from pathlib import Path

import pytest

from mcr_bench.bench.executors.failures import failure_of
from mcr_bench.bench.runs.events import EpochDone, Event, RunDone
from mcr_bench.bench.training import loop
from mcr_bench.bench.training.checkpoints import NAME
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.runs.hooked import array_file, job_of, method_file, runs_of

FAULT = Fault(
    "the loss becomes NaN or infinite: in the first step or in a later epoch, by a root, a division, an overflow, "
    "gradients, weights, a learning rate, buffers, one modality alone",
    "a run whose validation loss is not finite fails at the end of that epoch, with the epoch and the remedy; nothing "
    "of that epoch is logged or kept; a training loss that is NaN beside it fails nothing",
)
METHOD = """
@dataclass
class Odd(Method):
    name = "odd"
    def loss(self, outputs, batch):
        losses = super().loss(outputs, batch)
        {loss}
        return losses
    def after_backward(self, *given):
        super().after_backward(*given)
        {after}
    def on_epoch_end(self, validation):
        super().on_epoch_end(validation)
        {end}
"""
LATE = "if self.fit.epoch == 2: "
WEIGHT = "torch.nn.utils.parameters_to_vector(self.fit.model.parameters())"
KINDS = {
    "a root": ("loss", "losses['fused'] = losses['fused'] + torch.sqrt(outputs.logits.sum() - 1e9)"),
    "a division": ("loss", "losses['fused'] = losses['fused'] / torch.zeros(())"),
    "infinity": ("loss", "losses['fused'] = losses['fused'] * math.inf"),
    "zero times infinity": ("loss", "losses['fused'] = losses['fused'] * 0 * math.inf"),
    "an overflow": ("loss", "losses['fused'] = torch.exp(losses['fused'] + 1000)"),
    "another term": ("loss", "losses['own'] = outputs.logits.sum() * math.nan"),
    "a later epoch": ("loss", f"{LATE}losses['fused'] = losses['fused'] * math.nan"),
    "gradients": ("after", "[p.grad.fill_(math.nan) for p in self.fit.model.parameters() if p.grad is not None]"),
    "gradients of one modality": (
        "after",
        "[p.grad.fill_(math.nan) for p in self.fit.model.encoders['a'].parameters() if p.grad is not None]",
    ),
    "infinite gradients": (
        "after",
        "[p.grad.fill_(-math.inf) for p in self.fit.model.parameters() if p.grad is not None]",
    ),
    "gradients of a later epoch": (
        "after",
        f"{LATE}[p.grad.fill_(math.nan) for p in self.fit.model.parameters() if p.grad is not None]",
    ),
    "weights": ("end", "[p.data.fill_(math.nan) for p in self.fit.model.parameters()]"),
    "one weight": ("end", "next(self.fit.model.encoders['b'].parameters()).data.view(-1)[0] = math.nan"),
    "huge weights": ("end", "[p.data.mul_(1e30) for p in self.fit.model.parameters()]"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_diverges_fails_with_the_epoch_and_the_remedy(tmp_path: Path, kind: str) -> None:
    place, code = KINDS[kind]
    events = _fails(tmp_path, **{place: code})
    last = 1 if place == "end" or code.startswith(LATE) else 0
    assert [event.epoch for event in events if isinstance(event, EpochDone)] == list(range(1, last + 1))
    assert all(
        math.isfinite(value) for event in events if isinstance(event, EpochDone) for value in event.metrics.values()
    )


@pytest.mark.parametrize("rate", ["1e20", "1e38"])
def test_a_learning_rate_that_is_far_too_large_is_named_in_the_remedy(tmp_path: Path, rate: str) -> None:
    _fails(tmp_path, optimizer__name="sgd", optimizer__lr=rate)


def test_a_run_that_has_diverged_starts_from_its_last_good_epoch_and_fails_again(tmp_path: Path) -> None:
    first = _fails(tmp_path, loss=KINDS["a later epoch"][1])
    assert (tmp_path / first[0].key / NAME).is_file()
    assert _fails(tmp_path, loss=KINDS["a later epoch"][1]) == first


@pytest.mark.parametrize("term", ["losses['fused'].detach() * math.nan", "torch.log(outputs.logits.sum() * 0 - 1)"])
def test_a_term_that_is_nan_and_moves_nothing_fails_nothing(tmp_path: Path, term: str) -> None:
    spec, events = _spec(tmp_path, loss=f"losses['told'] = {term}"), list[Event]()
    fit_run(job_of(spec, tmp_path), events.append)
    assert isinstance(events[-1], RunDone)


@pytest.mark.unprotected
def test_a_validation_loss_that_nobody_looks_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check a diverged run trains to its end, and counts as finished with a useless result."""
    monkeypatch.setattr(loop.math, "isfinite", lambda _: True)
    spec, events = _spec(tmp_path, loss=KINDS["a later epoch"][1]), list[Event]()
    fit_run(job_of(spec, tmp_path), events.append)
    assert isinstance(events[-1], RunDone)
    losses = [event.metrics["val/loss"] for event in events if isinstance(event, EpochDone)]
    assert not all(loss == loss for loss in losses)


def _spec(folder: Path, loss: str = "pass", after: str = "pass", end: str = "pass", **settings: str):  # type: ignore[no-untyped-def]
    data = folder / "data.npz"
    source = method_file(folder, "import math\n" + METHOD.format(loss=loss, after=after, end=end))
    return runs_of(source, str(data) if data.exists() else array_file(data), **settings)[-1]


def _fails(folder: Path, **how: str) -> list[Event]:
    """The events of a run that fails as it should."""
    job, events = job_of(_spec(folder, **how), folder), list[Event]()
    with pytest.raises(RuntimeError) as raised:
        fit_run(job, events.append, checkpoint_seconds=0)
    reason = failure_of(job, raised.value).reason
    assert "training diverged. Try a lower optimizer.lr, or set clip_norm" in reason
    assert "validation loss is " in reason
    return events
