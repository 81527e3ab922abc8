"""What hooks give back: every wrong return is told as what it is, with the hook, and trains nothing."""

import io
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit import returns
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import make_fit, step
from mcr_bench.bench.training.evaluation import evaluate
from mcr_bench.bench.training.probes import Probes
from mcr_bench.methods.base import Method


def method_with(**hooks: Any) -> Method:
    made: Method = type("Mine", (Method,), {"name": "mine", **hooks})()
    return made


def loss_of(method: Method, outputs: Any, batch: Any) -> torch.Tensor:
    return method.fit.task.loss(outputs.logits, batch.target)


LOSSES: dict[str, tuple[Callable[[torch.Tensor], Any], str]] = {
    "a tensor": (lambda x: x, r"loss\(\).* returned a tensor of shape \(\). Return a dict of named terms: return"),
    "nothing": (lambda _: None, r"returned None \(is a `return` missing\?\)"),
    "a float": (lambda x: x.item(), "returned a float"),
    "a pair": (lambda x: (x, {}), "returned a tuple"),
    "an empty dict": (lambda _: {}, "returned an empty dict"),
    "a term that is a float": (lambda x: {"fused": x.item()}, r"the term 'fused' is a float.*Leave out .item\(\)"),
    "a term per sample": (lambda x: {"fused": x.expand(24)}, r"'fused' has shape \(24,\).*mean\(\)"),
    "a term that is nothing": (lambda x: {"fused": x, "extra": None}, "'extra' is None"),
    "a term without gradient": (lambda x: {"fused": x.detach()}, "none of the terms fused depends on the model"),
    "a key that is not text": (lambda x: {0: x}, "the term 0 has a name that is not text"),
}


@pytest.mark.parametrize("case", LOSSES)
def test_wrong_losses(case: str) -> None:
    wrong, says = LOSSES[case]
    method = method_with(loss=lambda self, outputs, batch: wrong(loss_of(self, outputs, batch)))
    fit = make_fit(method)
    before = [p.detach().clone() for p in fit.model.parameters()]
    with pytest.raises(UserError, match=says) as caught:
        step(method)
    assert str(caught.value).startswith("mine: loss()")
    assert all(torch.equal(a, b) for a, b in zip(before, fit.model.parameters(), strict=True))


def test_terms_may_be_constant_where_one_is_not() -> None:
    method = method_with(
        loss=lambda self, outputs, batch: {"fused": loss_of(self, outputs, batch), "none": outputs.logits.new_zeros(())}
    )
    make_fit(method)
    step(method)


OUTPUTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a tensor": (lambda out: out.logits, r"returned a tensor of shape \(24, 3\). Return Outputs.*dataclasses.replace"),
    "nothing": (lambda _: None, "returned None"),
    "a dict": (lambda out: {"logits": out.logits}, "returned a dict"),
    "logits of one axis": (
        lambda out: replace(out, logits=out.logits[:, 0]),
        r"logits are a tensor of shape \(24,\)\..*\(24, 3\)",
    ),
    "logits of other classes": (
        lambda out: replace(out, logits=out.logits[:, :2]),
        r"logits are a tensor of shape \(24, 2\)",
    ),
    "a mean over samples": (
        lambda out: replace(out, logits=out.logits.mean(0, keepdim=True)),
        r"logits are a tensor of shape \(1, 3\)",
    ),
    "logits that are a list": (lambda out: replace(out, logits=out.logits.tolist()), "logits are a list"),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_wrong_outputs_of_forward_and_predict(case: str) -> None:
    wrong, says = OUTPUTS[case]
    method = method_with(
        forward=lambda self, batch: wrong(self.fit.model(batch.inputs)),
        predict=lambda _, model, inputs: wrong(model(inputs)),
    )
    fit = make_fit(method)
    with pytest.raises(UserError, match=rf"^mine: forward\(\).*{says}"):
        step(method)
    with pytest.raises(UserError, match=rf"^mine: predict\(\).*{says}"):
        evaluate(method, fit.model, fit.val, Probes(fit.model, fit.device), 100)


def test_regression_has_one_output() -> None:
    method = method_with(predict=lambda _, model, inputs: replace(out := model(inputs), logits=out.logits[:, 0]))
    fit = make_fit(method, task=Task(None))
    with pytest.raises(UserError, match=r"logits are a tensor of shape \(24,\)\. Return a tensor of shape \(24, 1\)"):
        evaluate(method, fit.model, fit.val, Probes(fit.model, fit.device), 100)


@pytest.mark.parametrize(
    "groups", [None, [], {}, [{"lr": 0.1}], [{"params": []}], [torch.zeros(2)], torch.zeros(2), [{"params": 3}]]
)
def test_wrong_parameter_groups(groups: Any) -> None:
    with pytest.raises(UserError, match=r"mine: parameter_groups\(\).*params"):
        returns.checked_groups(method_with(), groups)


def test_groups_may_hold_generators_and_single_tensors() -> None:
    weight, other = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))
    groups = returns.checked_groups(method_with(), [{"params": iter([weight])}, {"params": other, "lr": 0.1}])
    assert [len(group["params"]) for group in groups] == [1, 1]


def test_hooks_that_change_things_in_place_return_nothing() -> None:
    method = method_with(build=lambda _, model: model)
    with pytest.raises(UserError, match=r"build\(\).* returned a module \(Linear\). Return nothing: change the model"):
        returns.call_in_place(method, "build", torch.nn.Linear(1, 1))
    returns.call_in_place(method_with(), "build", torch.nn.Linear(1, 1))


@pytest.mark.parametrize("reason", [False, True, 0, ""])
def test_a_reason_is_text(reason: Any) -> None:
    with pytest.raises(UserError, match=r"skip\(\) .*the reason as text, or None"):
        returns.checked_reason(method_with(), reason)
    assert returns.checked_reason(method_with(), "too few samples") == "too few samples"


@pytest.mark.parametrize(
    ("items", "says"), [(None, "returned None"), (("a",), "returned a tuple"), (["a"], "returned a list with a str")]
)
def test_lists_hold_what_they_should(items: Any, says: str) -> None:
    with pytest.raises(UserError, match=rf"variants\(\).*{says}.*Return a list"):
        returns.checked_list(method_with(), "variants", items, tuple, "[modalities]")


def test_a_state_is_a_dict() -> None:
    with pytest.raises(UserError, match=r"state_dict\(\).*returned a list"):
        returns.checked_state(method_with(), [])


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.ones(3), r"\['kept'\] is an ndarray"),
        ([1.0, np.float64(2.0)], r"the value of \['kept'\]\[1\] is a float64"),
        ({"window": deque([1.0])}, r"the value of \['kept'\]\['window'\] is a deque"),
    ],
)
def test_what_a_checkpoint_cannot_give_back_is_refused_before_it_is_written(value: object, told: str) -> None:
    with pytest.raises(UserError, match=told):
        returns.checked_state(object(), {"kept": value})


def test_what_a_checkpoint_gives_back_is_taken() -> None:
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = {
        "layer": layer.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rest": [1, "a", None, (2.0, {3}), layer.bias],
    }
    assert returns.checked_state(object(), state) is state
    file = io.BytesIO()
    torch.save(state, file)
    torch.load(io.BytesIO(file.getvalue()), weights_only=True)
