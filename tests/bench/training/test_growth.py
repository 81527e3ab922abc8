"""`fit.grow`: a module that is added in mid-run is drawn, owned, optimised, kept, and grown again by a resumed run."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.multimodal import MultimodalModel, Outputs
from mcr_bench.bench.runs.events import EpochDone, Event
from mcr_bench.bench.testing.fits import make_fit, step
from mcr_bench.bench.training.growth import keep_grown
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.methods.joint import Joint
from mcr_bench.tests.support.runs.hooked import (
    Killed,
    Result,
    array_file,
    equal_weights,
    job_of,
    method_file,
    runs_of,
    same,
    trained,
)

GROWS = '''
@dataclass
class Grows(Method):
    """From an epoch on a second head reads modality a beside the fusion head."""

    at: int = setting(2, "epoch at whose start, or end, the head grows; 0 = never")
    lr: float = setting(0.0, "its own learning rate; 0 = that of all")
    when: str = setting("start", "start, step or end")
    built: bool = setting(False, "make it before training instead, and use it from the same epoch on")
    name: ClassVar[str] = "grows"

    def build(self, model):
        if self.built:
            model.extras["second"] = nn.Linear(model.width, model.task.outputs)

    def grow(self, name):
        return nn.Linear(self.fit.model.width, self.fit.model.task.outputs)

    def _grow(self, when):
        if self.fit.epoch == self.at and self.when == when and "second" not in self.fit.model.extras:
            self.fit.grow("second", **({"lr": self.lr} if self.lr else {}))

    def on_epoch_start(self):
        self._grow("start")

    def on_epoch_end(self, validation):
        self._grow("end")

    def train_step(self, batch):
        self._grow("step")
        super().train_step(batch)

    def _joined(self, outputs, model):
        heads = [] if self.built and self.fit.epoch < self.at else list(model.extras.values())
        return replace(outputs, logits=outputs.logits + sum(head(outputs.features["a"]) for head in heads))

    def forward(self, batch):
        return self._joined(super().forward(batch), self.fit.model)

    def predict(self, model, inputs):
        return self._joined(super().predict(model, inputs), model)
'''


@pytest.mark.parametrize("count", [2, 3])
def test_a_method_that_never_grows_equals_joint_bit_for_bit(count: int, tmp_path: Path) -> None:
    data = array_file(tmp_path / "set.npz", count)
    (mine,) = runs_of(method_file(tmp_path, GROWS), data, grows__at="0")
    (joint,) = runs_of("joint", data)
    assert same(trained(mine, tmp_path), trained(joint, tmp_path))


@pytest.mark.parametrize(
    ("optimizer", "when", "killed", "more"),
    [
        ("adam", "start", 3, {}),
        ("adamw", "end", 3, {"grows__lr": "0.1", "schedule__name": "cosine"}),
        ("sgd", "step", 4, {"clip_norm": "0.5"}),
        ("adam", "end", 4, {"grows__lr": "0.1"}),
    ],
)
def test_a_run_killed_after_a_growth_resumes_bit_equal(
    optimizer: str, when: str, killed: int, more: dict[str, str], tmp_path: Path
) -> None:
    """It is killed at the end of an epoch before the checkpoint is written, so it resumes from the epoch before."""
    data = array_file(tmp_path / "set.npz")
    settings = {"optimizer__name": optimizer, "grows__when": when, "epochs": "5", **more}
    (spec,) = runs_of(method_file(tmp_path, GROWS), data, **settings)
    calm = trained(spec, tmp_path / "calm")
    assert same(calm, trained(spec, tmp_path / "killed", killed_in=killed))
    assert {"extras.second.weight", "extras.second.bias"} <= calm.weights.keys()


@pytest.mark.parametrize(
    ("optimizer", "more"),
    [
        ("adam", {}),
        ("adamw", {"schedule__name": "step", "schedule__every": "1", "schedule__factor": "0.5"}),
        ("sgd", {"schedule__name": "cosine", "schedule__warmup": "3"}),
    ],
)
def test_what_grows_is_trained_as_if_it_had_been_there_without_a_gradient(
    optimizer: str, more: dict[str, str], tmp_path: Path
) -> None:
    """The same initial weights, and moments and counts of steps that begin with the first gradient."""
    data, source = array_file(tmp_path / "set.npz"), method_file(tmp_path, GROWS)
    settings = {"optimizer__name": optimizer, "epochs": "3", "monitor": "loss", "optimizer__lr": "0.005", **more}
    grown, built = (
        trained(runs_of(source, data, grows__built=str(built), **settings)[0], tmp_path) for built in (False, True)
    )
    assert grown.final["best_epoch"] == built.final["best_epoch"] == 3
    assert equal_weights(grown.weights, built.weights)
    assert grown.epochs == built.epochs


def test_a_checkpoint_that_does_not_name_what_has_grown_is_read(tmp_path: Path) -> None:
    """As checkpoints were before modules could grow: neither the state nor its best epoch has the field."""
    (spec,) = runs_of("mcr", array_file(tmp_path / "set.npz", 2))
    calm, job = trained(spec, tmp_path / "calm"), job_of(spec, tmp_path / "killed")

    def dying(event: object) -> None:
        if isinstance(event, EpochDone) and event.epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        fit_run(job, dying, checkpoint_seconds=0)
    path = job.folder / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    del state["grown"], state["progress"]["best"]["grown"]
    torch.save(state, path)
    events: list[Event] = []
    fit_run(job, events.append)
    assert same(calm, Result(job, events))


@pytest.mark.parametrize("killed", [0, 4])
def test_the_best_epoch_may_lie_before_the_growth(killed: int, tmp_path: Path) -> None:
    """The rate of the new head ruins the model; the run then ends as one that never grew."""
    data, source = array_file(tmp_path / "set.npz"), method_file(tmp_path, GROWS)
    (spec,) = runs_of(source, data, grows__at="3", grows__lr="1000", monitor="loss", epochs="5")
    spoilt = trained(spec, tmp_path, killed_in=killed)
    (plain,) = runs_of(source, data, grows__at="0", monitor="loss", epochs="2")
    calm = trained(plain, tmp_path)
    assert spoilt.final["best_epoch"] == calm.final["best_epoch"] == 2
    assert equal_weights(spoilt.weights, calm.weights)
    test = [name for name in calm.final if name.startswith("test/")]
    assert {name: spoilt.final[name] for name in test} == {name: calm.final[name] for name in test}


class Growing(Joint):
    """Grows what the test gives it."""

    def grow(self, name: str) -> nn.Module:
        return self.made  # type: ignore[attr-defined,no-any-return]


def growing(made: object, **options: object) -> Growing:
    method = Growing()
    method.made = made  # type: ignore[attr-defined]
    make_fit(method, **options)
    return method


def test_it_belongs_to_the_method_and_has_the_type_and_mode_of_the_model() -> None:
    method = growing(nn.Sequential(nn.Linear(6, 3), nn.Dropout()), dtype=torch.float64)
    method.fit.model.train()
    module = method.fit.grow("more", weight_decay=0.0)
    owners = {name: owner for name, _, owner in method.fit.model.owned() if name.startswith("extras.")}
    assert set(owners) == {"extras.more.0.weight", "extras.more.0.bias"}
    assert {(owner.modality, owner.role) for owner in owners.values()} == {(None, "method")}
    assert module[0].weight.dtype == torch.float64
    assert module.training
    group = method.fit.optimizer.param_groups[-1]
    assert group["weight_decay"] == 0.0 != method.fit.optimizer.param_groups[0]["weight_decay"]
    assert group["base_lr"] == group["lr"] == method.fit.settings.optimizer.lr
    assert method.fit.grown == ["more"]


def test_initial_weights_come_from_the_name_and_the_seed_alone() -> None:
    one, other = growing(nn.Linear(6, 3)), growing(nn.Linear(6, 3), fusion="gated")
    torch.manual_seed(7)
    first = one.fit.grow("more").weight
    step(other)
    torch.manual_seed(8)
    assert torch.equal(first, other.fit.grow("more").weight)
    other.made = nn.Linear(6, 3)  # type: ignore[attr-defined]
    assert not torch.equal(first, other.fit.grow("else").weight)


def test_what_grew_later_is_removed_and_the_rest_stays() -> None:
    method = growing(nn.Linear(6, 3))
    method.fit.grow("one")
    method.made = nn.Linear(6, 3)  # type: ignore[attr-defined]
    method.fit.grow("two")
    keep_grown(method.fit, ["one"])
    assert list(method.fit.model.extras) == method.fit.grown == ["one"]


@pytest.mark.parametrize(
    ("made", "name", "options", "told"),
    [
        (None, "more", {}, r"grow\(\) \(line .* returned None .* Return a new module"),
        (nn.Linear, "more", {}, "Return a new module"),
        (nn.Linear(2, 2), "a.b", {}, "not allowed as the name of a module"),
        (nn.Linear(2, 2), "type", {}, "not allowed as the name of a module"),
        (nn.Linear(2, 2), "more", {"rate": 0.1}, "unknown option 'rate'"),
    ],
)
def test_what_cannot_grow_is_told(made: object, name: str, options: dict[str, float], told: str) -> None:
    with pytest.raises(UserError, match=told):
        growing(made).fit.grow(name, **options)


def test_a_name_grows_once_and_old_parts_do_not_grow() -> None:
    method = growing(nn.Linear(6, 3))
    method.fit.grow("more")
    with pytest.raises(UserError, match="the model has an extra of that name"):
        method.fit.grow("more")
    method.made = nn.Sequential(method.fit.model.own_heads["audio"])  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"whose '0\.weight' is a part of the model already"):
        method.fit.grow("again")


def test_a_method_without_the_hook_and_one_that_is_too_early_are_told() -> None:
    with pytest.raises(UserError, match="Write the hook grow"):
        make_fit(Joint()).grow("more")

    class Early(Joint):
        def on_fit_start(self) -> None:
            self.fit.grow("more")

    with pytest.raises(RuntimeError, match=r"put the module into model.extras in build\(\)"):
        make_fit(Early())


def test_a_step_after_a_growth_trains_it() -> None:
    class Uses(Growing):
        def forward(self, batch) -> Outputs:  # type: ignore[no-untyped-def]
            outputs: Outputs = super().forward(batch)
            model: MultimodalModel = self.fit.model
            if "more" in model.extras:
                outputs.logits = outputs.logits + model.extras["more"](outputs.features["audio"])
            return outputs

    method = Uses()
    method.made = nn.Linear(6, 3)  # type: ignore[attr-defined]
    make_fit(method)
    step(method)
    module = method.fit.grow("more")
    before = module.weight.clone()
    step(method)
    assert not torch.equal(before, module.weight)
