"""Methods that begin with a warm-up have the properties of the kit after it too: there is none in these trainings."""

import pytest

from mcr_bench.bench.testing.card import checked
from mcr_bench.bench.testing.methods.kit import PROPERTIES
from mcr_bench.bench.testing.trials.trials import Trials
from mcr_bench.methods.bss import Bss
from mcr_bench.methods.midas import Midas
from mcr_bench.methods.remix import Remix
from mcr_bench.methods.smv import Smv

CHECKED = (
    "any-number",
    "finite-terms",
    "repeatable",
    "resume",
    "global-generators",
    "any-fusion-head",
    "order-of-modalities",
    "names-of-modalities",
    "dead-modality",
    "saturated-logits",
    "bf16",
    "absent-modality",
    "batch-statistics",
    "cost-counted",
    "no-waits",
)


class SmvAtOnce(Smv):
    def __post_init__(self) -> None:
        self.warmup = 0


class CoarseSmvAtOnce(Smv):
    def __post_init__(self) -> None:
        self.warmup, self.level, self.share, self.alpha = 0, "modality", 0.7, 6.0


class RemixAtOnce(Remix):
    def __post_init__(self) -> None:
        self.warmup = 0


class SelfPacedBss(Bss):
    def __post_init__(self) -> None:
        self.sequence = "self-paced"


class MidasAtOnce(Midas):
    def __post_init__(self) -> None:
        self.warmup, self.eta, self.update = 0, 0.5, "sign"


@pytest.mark.parametrize("cls", [SmvAtOnce, CoarseSmvAtOnce, RemixAtOnce, SelfPacedBss, MidasAtOnce])
def test_it_has_the_properties_of_the_kit(cls: type[Smv] | type[Remix] | type[Bss] | type[Midas]) -> None:
    properties = [one for one in PROPERTIES if one.name in CHECKED]
    assert len(properties) == len(CHECKED)
    outcomes = checked(cls.name, "method", properties, Trials(cls)).outcomes
    assert {one.property: one.reason for one in outcomes if one.state != "passed"} == {}
