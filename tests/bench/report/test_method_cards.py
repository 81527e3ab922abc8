"""What every method's card owes its reader: source, formula, origins, deviations, neutral settings."""

import inspect
import re

import pytest

from mcr_bench.bench import settings
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.report.cards import card_of, card_text
from mcr_bench.methods.base import Method

METHODS = registry.method_names()
PUBLISHED = [n for n in METHODS if registry.method(n).role == "method"]
BALANCING = ("agm", "mcr", "mlb", "ogm", "ogm-ge")


def own_words(cls: type[Method]) -> str:
    """The module's and the class's docstrings, neither inherited nor generated."""
    module = inspect.getmodule(cls)
    assert module is not None
    assert module.__doc__
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}(")
    return module.__doc__ + cls.__doc__


def test_every_balancing_method_is_looked_at() -> None:
    assert set(BALANCING) <= set(PUBLISHED)


@pytest.mark.parametrize("name", METHODS)
def test_the_card_states_a_formula(name: str) -> None:
    """What is minimised, what is averaged or what multiplies a gradient, in symbols."""
    assert re.search(r"CE\(|[a-z]_m = |z = |k_m g", own_words(registry.method(name)))


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_has_bounds_or_choices_words_and_an_origin(name: str) -> None:
    declared = settings.declared(registry.method(name))
    for setting in declared.values():
        assert len(setting.doc.split()) > 1, setting.key
        assert setting.origin, setting.key
        assert setting.allowed not in ("number", "whole number"), f"{setting.key} takes any number"
        settings.resolve(registry.method(name), {setting.key: setting.default})


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_method_names_paper_deviations_and_neutral_settings(name: str) -> None:
    cls = registry.method(name)
    assert re.fullmatch(r"(\d{4}\.\d{4,5})?", cls.reference.arxiv)
    assert re.search(r"20\d\d$", cls.reference.venue)
    assert len(cls.reference.title.split()) >= 3
    assert cls.deviations
    assert bool(cls.neutral) != bool(cls.without_neutral)
    assert all(n.settings and (n.tolerance == 0 or n.reason) for n in cls.neutral)


@pytest.mark.parametrize("name", PUBLISHED)
def test_whose_numbers_the_defaults_of_a_published_method_are(name: str) -> None:
    """A strength or weight is taken from code or paper, never from nowhere."""
    strengths = [s for k, s in settings.declared(registry.method(name)).items() if k in ("alpha", "beta")]
    strengths += [s for k, s in settings.declared(registry.method(name)).items() if k.startswith("lambda_")]
    assert strengths or name not in BALANCING
    if not name.endswith("-style"):  # reconstructed: its defaults are ours, and say so
        assert all(any(word in s.origin for word in ("code", "README", "paper")) for s in strengths)


@pytest.mark.parametrize("name", METHODS)
def test_the_printed_card_holds_all_of_it(name: str, tmp_path) -> None:
    cls, text = registry.method(name), " ".join(card_text(card_of(name, tmp_path)).split())
    for expected in (cls.reference.title, *cls.deviations, *settings.declared(cls)):
        assert " ".join(expected.split()) in text
