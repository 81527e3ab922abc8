"""Properties of honesty: nothing is learned from the parts that select or test."""

import gc
import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Inputs
from mcr_bench.bench.testing.card import Failed, NotApplicable, Property
from mcr_bench.bench.testing.fits import whole_batch
from mcr_bench.bench.testing.trials.comparing import first_difference
from mcr_bench.bench.testing.trials.epochs import train
from mcr_bench.bench.testing.trials.gates import sound, usable
from mcr_bench.bench.testing.trials.trials import FAILS, Trials
from mcr_bench.datasets.base import Split
from mcr_bench.methods.base import Method

FIELDS = {one.name for one in fields(Split)}
OBJECTS: frozenset[object] = frozenset(
    {gc.get_objects, gc.get_referrers, sys._getframe, inspect.currentframe.__code__, inspect.stack.__code__}
)
READING = (np.load, torch.load, Path.open, Path.read_text, Path.read_bytes)
FILES: frozenset[object] = frozenset({open, os.open, *(function.__code__ for function in READING)})


class WatchedSplit(Split):
    """A part of the data that notes, while it is watched, which of its fields are read."""

    watched = False
    read: list[str]

    def __getattribute__(self, name: str) -> object:
        if name in FIELDS and object.__getattribute__(self, "watched"):
            object.__getattribute__(self, "read").append(name)
        return object.__getattribute__(self, name)


@sound
def validation_not_trained_on(trials: Trials) -> None:
    """A training step does not read the validation part, and no other hook reads it and moves weights."""
    method = trials.start(prepare=lambda fit: setattr(fit, "val", _watched(fit.val)))
    val, model, trained_on = method.fit.val, method.fit.model, list[str]()
    assert isinstance(val, WatchedSplit)

    @contextmanager
    def around(hook: str) -> Iterator[None]:
        before = {name: x.clone() for name, x in model.state_dict().items()} if hook != "train_step" else {}
        val.watched = True
        yield
        val.watched = False
        if val.read and (hook == "train_step" or first_difference(before, model.state_dict())):
            place = "a training step" if hook == "train_step" else f"{hook}(), which changes weights,"
            trained_on.append(f"{place} reads fit.val.{val.read[0]}, by which the epoch is selected")
        val.read.clear()

    train(method, 2, around)
    if trained_on:
        raise Failed(trained_on[0])


def _watched(split: Split) -> WatchedSplit:
    watched = WatchedSplit(**vars(split))
    watched.read = []
    return watched


@usable
def labels_not_read(trials: Trials) -> None:
    """What is predicted does not change with the labels of the part that is predicted."""
    method = trials.start()
    if trials.cls.trains:
        train(method)
    val = method.fit.val
    inputs = val.batch(torch.arange(len(val))).inputs
    before = _prediction(method, inputs)
    method.fit.val = replace(val, target=val.target.flip(0))
    val.target.copy_(val.target.flip(0))
    after = _prediction(method, inputs)
    if not torch.equal(before, after):
        raise Failed("a prediction for the validation part changes with its labels")


@torch.no_grad()
def _prediction(method: Method, inputs: Inputs) -> Tensor:
    method.fit.model.eval()
    given = Inputs({m: x.clone() for m, x in inputs.values.items()}, {**inputs.lengths})
    return method.predict(method.fit.model, given).logits


def test_part_not_reached(trials: Trials) -> None:
    """No hook looks through the objects of the process or through files, where the test part can be found."""
    if trials.refused or (trials.cls.trains and trials.fails):
        raise NotApplicable(FAILS)
    seen: list[str] = []
    with trials.alone(), _profiled(trials, seen, OBJECTS):
        method = trials.start()
    with trials.alone(), _profiled(trials, seen, OBJECTS | FILES):
        if trials.cls.trains:
            train(method)
        _prediction(method, whole_batch(method.fit).inputs)
    if seen:
        raise Failed(f"it calls {seen[0]}, by which the test part can be reached")


@contextmanager
def _profiled(trials: Trials, seen: list[str], watched: frozenset[object]) -> Iterator[None]:
    """Inside the block, calls of what is watched are noted that code beside the method's file makes."""
    folder = str(trials.file and trials.file.parent)
    if sys.getprofile() is not None:
        raise NotApplicable("not checked, as a profiler is running")

    def note(frame: FrameType, event: str, called: object) -> None:
        caller = frame if event == "c_call" else frame.f_back
        what = called if event == "c_call" else frame.f_code
        if event in ("call", "c_call") and what in watched and caller and _folder(caller) == folder:
            seen.append(f"{getattr(what, '__qualname__', what)} in {caller.f_code.co_qualname}()")

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


def _folder(frame: FrameType) -> str:
    return os.path.dirname(frame.f_code.co_filename)


PROPERTIES = (
    Property(
        "validation-not-trained-on",
        "nothing is learned from the validation part, by which the epoch is selected",
        "Train on fit.train alone. What a method needs of the validation part comes to on_epoch_end(validation).",
        validation_not_trained_on,
    ),
    Property(
        "labels-not-read",
        "a prediction does not depend on the labels of what is predicted",
        "predict(model, inputs) computes from inputs alone; fit.val.target is what it is scored with.",
        labels_not_read,
    ),
    Property(
        "test-part-not-reached",
        "no hook looks for data among the objects of the process or in files while it trains and predicts",
        "The test part is nobody's during training. Constants and tables are read in build() or on_fit_start().",
        test_part_not_reached,
    ),
)
