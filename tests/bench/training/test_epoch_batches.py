"""`epoch_batches`: a method chooses the samples of an epoch and what is dropped, and everything else goes along."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.testing.fits import make_fit
from mcr_bench.bench.training import loop
from mcr_bench.bench.training.epochs import epoch_steps
from mcr_bench.bench.training.reader import reading
from mcr_bench.methods.base import EpochBatches, Method
from mcr_bench.methods.joint import Joint
from mcr_bench.tests.support.runs.hooked import array_file, job_of, method_file, runs_of, same, trained

AGAIN = '''
@dataclass
class Again(Method):
    """Trains the common order, and after it a drawn part of the samples again, with one modality dropped."""

    share: float = setting(0.5, "share of the samples that come again")
    drawn: str = setting("keyed", "where draws come from: keyed or global")
    name: ClassVar[str] = "again"

    def epoch_batches(self, epoch):
        order, n = self.fit.order(), len(self.fit.train)
        if self.drawn == "keyed":
            draws = torch.rand(n, generator=self.fit.generator("again"))
        else:
            draws = torch.rand(n) + float(np.random.rand())
        again = order[(draws < self.share)[order]] if epoch > 1 else order[:0]
        dropped = torch.arange(n + len(again)) >= n
        return EpochBatches(torch.cat((order, again)), {"a": dropped, "b": torch.zeros_like(dropped)})
'''
EASY_FIRST = '''
@dataclass
class EasyFirst(Method):
    """A curriculum: a growing share of the samples, those with the smallest loss first, measured in an own pass."""

    name: ClassVar[str] = "easy-first"
    needs: ClassVar[Needs] = Needs(own_heads=True)

    def loss(self, outputs, batch):
        own = sum(self.fit.task.loss(h, batch.target) for h in outputs.own_logits.values())
        return super().loss(outputs, batch) | {"own": own}

    def epoch_batches(self, epoch):
        if epoch == 1:
            return None
        fit = self.fit
        fit.model.eval()
        with torch.no_grad():
            batch = fit.train.batch(torch.arange(len(fit.train)))
            hard = nn.functional.cross_entropy(fit.model(batch.inputs).logits, batch.target, reduction="none")
        fit.model.train()
        return EpochBatches(hard.argsort(stable=True)[: len(hard) * epoch // 4])
'''


@pytest.mark.parametrize("count", [2, 3])
def test_neutral_use_equals_joint_bit_for_bit(count: int, tmp_path: Path) -> None:
    data = array_file(tmp_path / "set.npz", count)
    (mine,) = runs_of(method_file(tmp_path, AGAIN), data, again__share="0")
    (joint,) = runs_of("joint", data)
    assert same(trained(mine, tmp_path), trained(joint, tmp_path))


@pytest.mark.parametrize(
    ("body", "settings"),
    [(AGAIN, {}), (AGAIN, {"again__drawn": "global"}), (EASY_FIRST, {"schedule__name": "cosine"})],
    ids=["repeated", "global draws", "curriculum"],
)
def test_a_killed_run_resumes_bit_equal(body: str, settings: dict[str, str], tmp_path: Path) -> None:
    data = array_file(tmp_path / "set.npz", 3)
    (spec,) = runs_of(method_file(tmp_path, body), data, **settings)
    assert same(trained(spec, tmp_path / "calm"), trained(spec, tmp_path / "killed", killed_in=3))


class Chosen(Joint):
    """Takes its epochs from a function of the test's, and notes what its steps see."""

    choose: Callable[[Method], object] = lambda _: None

    def epoch_batches(self, epoch: int) -> EpochBatches | None:
        return type(self).choose(self)  # type: ignore[return-value]

    def train_step(self, batch):  # type: ignore[no-untyped-def]
        self.seen.append((batch.index.tolist(), {m: x.tolist() for m, x in batch.dropped.items()}))
        self.rates.append(self.fit.optimizer.param_groups[0]["lr"])
        super().train_step(batch)


def started(tmp_path: Path, choose: Callable[[Method], object], **settings: str) -> tuple[loop.Training, Chosen]:
    """A run on 30 training samples of modalities a and b in batches of 8, before its first epoch."""
    (spec,) = runs_of("joint", array_file(tmp_path / "set.npz"), **settings)
    run = loop.start(job_of(spec, tmp_path))
    method = Chosen()
    method.fit, method.seen, method.rates = run.fit, [], []
    type(method).choose = staticmethod(choose)
    run.method = method
    return run, method


def test_steps_see_the_order_and_what_is_dropped(tmp_path: Path) -> None:
    order = torch.tensor([3, 3, 29, 0, 3, 7, 1, 1, 5, 3])
    dropped = torch.tensor([False] * 8 + [False, True])
    run, method = started(tmp_path, lambda _: EpochBatches(order, {"b": dropped}))
    loop.run_epoch(run)
    assert method.seen == [([3, 3, 29, 0, 3, 7, 1, 1], {}), ([5, 3], {"b": [False, True]})]


def test_other_draws_are_not_shifted_and_the_common_order_stays_the_seeds(tmp_path: Path) -> None:
    def greedy(_method: Method) -> None:
        torch.rand(1000)

    run, method = started(tmp_path, greedy)
    plain, other = started(tmp_path, lambda _: None)
    for one in (run, plain):
        loop.run_epoch(one)
        loop.run_epoch(one)
    assert method.seen == other.seen
    weights = zip(run.fit.model.parameters(), plain.fit.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


@pytest.mark.parametrize("name", ["cosine", "step"])
def test_schedules_count_epochs_whatever_their_length(name: str, tmp_path: Path) -> None:
    """Epochs of 30, 10 and 47 samples: 4, 2 and 6 steps."""
    lengths = [30, 10, 47]

    def choose(method: Method) -> EpochBatches:
        return EpochBatches(torch.arange(lengths[method.fit.epoch - 1]) % 30)

    more = {"schedule__every": "2", "schedule__factor": "0.5", "epochs": "3", "optimizer__lr": "0.1"}
    run, method = started(tmp_path, choose, schedule__name=name, **more)
    for _ in lengths:
        loop.run_epoch(run)
    steps = [math.ceil(n / 8) for n in lengths]
    progress = [epoch + place / n for epoch, n in enumerate(steps) for place in range(n)]
    cosine = [0.05 * (1 + math.cos(math.pi * p / 3)) for p in progress]
    drops = [0.1 * 0.5 ** (int(p) // 2) for p in progress]
    assert method.rates == pytest.approx(cosine if name == "cosine" else drops)
    assert run.fit.step == sum(steps) == 12


@pytest.mark.parametrize("length", [1, 3, 200])
def test_probes_and_curves_come_with_epochs_of_any_length(length: int, tmp_path: Path) -> None:
    order = torch.arange(length) % 30
    run, _ = started(tmp_path, lambda _: EpochBatches(order, {"a": torch.ones(length, dtype=torch.bool)}))
    loop.run_epoch(run)
    metrics = run.progress.history[0]["metrics"]
    assert {"train/gradient_norm/b", "train/encoder_passes/forward", "val/modality/a/accuracy"} <= metrics.keys()
    assert metrics["train/encoder_passes/forward"] == pytest.approx(1)
    assert metrics["train/gradient_norm/a"] == 0 < metrics["train/gradient_norm/b"]


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ([0, 1], "returned a list. Return EpochBatches"),
        (torch.arange(3), "returned a tensor of shape"),
        (EpochBatches([0, 1]), "the order is a list. Give indices"),  # type: ignore[arg-type]
        (EpochBatches(torch.zeros(2, 2, dtype=torch.long)), r"the order is a tensor of shape \(2, 2\)"),
        (EpochBatches(torch.rand(4)), "of torch.float32. Give indices"),
        (EpochBatches(torch.ones(4, dtype=torch.bool)), "of torch.bool. Give indices"),
        (EpochBatches(torch.arange(0)), "the order is empty"),
        (EpochBatches(torch.tensor([0, 24])), "holds the index 24, but there are 24 training samples"),
        (EpochBatches(torch.tensor([3, -1])), "holds the index -1"),
        (EpochBatches(torch.arange(2), {"smell": torch.ones(2, dtype=torch.bool)}), "unknown modality 'smell'"),
        (EpochBatches(torch.arange(2), {"audio": torch.ones(3, dtype=torch.bool)}), r"each place of the order: \(2,\)"),
        (EpochBatches(torch.arange(2), {"audio": torch.ones(2)}), "of torch.float32. Give a tensor of torch.bool"),
        (EpochBatches(torch.arange(2), ["audio"]), "dropped is a list. Give a dict"),  # type: ignore[arg-type]
    ],
)
def test_wrong_returns_are_told_with_the_hook_and_the_remedy(returned: object, told: str) -> None:
    method = Chosen()
    type(method).choose = staticmethod(lambda _: returned)
    fit = make_fit(method)
    with pytest.raises(UserError, match=rf"joint: epoch_batches\(\) \(line .*{told}"):
        epoch_steps(method, fit, {})


def test_a_step_that_does_not_heed_what_is_dropped_is_told(tmp_path: Path) -> None:
    class Deaf(Chosen):
        def forward(self, batch):  # type: ignore[no-untyped-def]
            return self.fit.model(batch.inputs)

    every = {"a": torch.ones(8, dtype=torch.bool)}
    run, _ = started(tmp_path, lambda _: EpochBatches(torch.arange(8), every))
    deaf = Deaf()
    deaf.fit, deaf.seen, deaf.rates = run.fit, [], []
    type(deaf).choose = staticmethod(lambda _: EpochBatches(torch.arange(8), every))
    run.method = deaf
    with pytest.raises(UserError, match=r"was to drop 'a' .* did not\. Hand batch\.dropped to the model"):
        loop.run_epoch(run)


def test_samples_that_come_again_are_read_ahead_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from mcr_bench.bench.training import reader
    from mcr_bench.tests.bench.training.test_reader import Numbered, split_of

    monkeypatch.setattr(reader, "helps", lambda _: True)
    order: Tensor = torch.tensor([5, 5, 0, 19, 5, 5, 5, 2, 0])
    ahead = split_of(x=Numbered(20))
    with reading(ahead, order, 4) as parts:
        batches = [ahead.batch(index).inputs.values["x"] for index in parts]
    assert torch.equal(torch.cat(batches), torch.stack([order, order + 0.5], 1))
    assert ahead.values["x"].threads == {"reader of batches"}
