"""Every registered method has every property of the kit, ours and those of packages: a new file is covered."""

import re
from pathlib import Path

import pytest
import torch

import mcr_bench
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.testing.card import checked
from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.bench.testing.kits import IMPORTED
from mcr_bench.bench.testing.methods.kit import KIT
from mcr_bench.methods.base import Method

METHODS = registry.method_names()
FROM_SCRATCH = [
    n
    for n in METHODS
    if registry.method(n).trains and registry.method(n).role != "unimodal" and not registry.method(n)().requires(NAMES)
]
MEAN_OF_OWN_HEADS = {"lfm"}  # these predict it, not what the fusion head gives
WEIGHTED_HEADS = {"di-mml", "predictive-dynamic-fusion", "qmf"}  # these predict the own heads' logits with weights
SUM_OF_OWN_HEADS = {"bss"}
# What does not apply to these methods, so that a check that skips too much is seen.
NOT_TRAINED = {"predictions", "predictions-of-each-alone", "predicting-changes-nothing", "labels-not-read"}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_every_property(name: str) -> None:
    opened = KIT.opened(name)
    card = checked(name, "method", KIT.properties, opened.of, opened.file)
    assert {one.property: one.reason for one in card.outcomes if one.state == "failed"} == {}
    passed = {one.property for one in card.outcomes if one.state == "passed"}
    assert passed >= NOT_TRAINED
    assert not opened.of.cls.trains or len(passed) >= 26, passed


def test_the_card_in_the_documentation_has_every_property() -> None:
    text = (Path(mcr_bench.__file__).parent / "docs/methods.md").read_text(encoding="utf-8")
    told = re.findall(r"^  (?:ok  |-   )  (\S+)", text, re.MULTILINE)
    assert told == [IMPORTED.name, *(one.name for one in KIT.properties)]


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_all_methods_start_from_the_same_logits(name: str) -> None:
    method, plain = registry.method(name)(), registry.method("joint")()
    mine, theirs = (make_fit(one).model.fusion.state_dict().keys() for one in (method, plain))
    if mine != theirs:
        pytest.skip("it has a fusion head of its own")

    def predicted(method: Method) -> Outputs:
        method.fit.model.eval()
        return method.predict(method.fit.model, whole_batch(method.fit).inputs)

    start = predicted(plain)
    if name in WEIGHTED_HEADS:
        assert all(torch.equal(z, start.own_logits[m]) for m, z in predicted(method).own_logits.items())
        return
    own, expected = torch.stack(list(start.own_logits.values())), start.logits
    if name in MEAN_OF_OWN_HEADS | SUM_OF_OWN_HEADS:
        expected = own.mean(0) if name in MEAN_OF_OWN_HEADS else own.sum(0)
    assert torch.equal(predicted(method).logits, expected)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_registered_under_its_own_name(name: str) -> None:
    cls = registry.method(name)
    assert cls.name == name
    assert {neutral.equals for neutral in cls.neutral} <= set(METHODS)
