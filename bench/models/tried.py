"""A model as chosen, tried without weights before anything is trained: do shapes, encoders and head fit together?"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import torch

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.build import check_name, joined_on, joining, made, require_fit
from mcr_bench.bench.models.declared import Encoder, EncoderKind, FusionKind, Head
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.declaration import Value

MOST = 1000  # trials that are remembered: a plan asks for the same encoder once per method
Frozen = tuple[tuple[str, Value], ...]


class Tried(NamedTuple):
    """What is known of a model without weights.

    additive: whether the logits are a sum of one branch per modality.
    asks: what of "tokens" and "stages" the fusion head reads beside the features.
    """

    additive: bool
    asks: frozenset[str]


def tried(modalities: Mapping[str, Modality], outputs: int, head: Head, encoders: Mapping[str, Encoder]) -> Tried:
    """What is known of the model with these modalities and so many outputs; UserError where its parts do not fit."""
    for m, modality in modalities.items():
        check_name(m)
        with _of(f"encoder.{m}.kind={encoders[m].kind.name}", encoders[m].kind.digest):
            _try_encoder(encoders[m].kind, _frozen(encoders[m].values), modality, head.width)
    kind = joining(head.kind, len(modalities))
    values = head.values if kind is head.kind else {}
    chosen = tuple((m, encoders[m].kind, _frozen(encoders[m].values), modality) for m, modality in modalities.items())
    with _of(f"model.fusion={kind.name}", kind.digest):
        return Tried(kind.additive, _try_head(kind, _frozen(values), head.width, outputs, chosen))


@lru_cache(maxsize=MOST)
def _try_encoder(kind: EncoderKind, values: Frozen, modality: Modality, width: int) -> None:
    if kind.digest:
        require_fit(kind, modality)
        kind.check(modality, width, dict(values))
        return
    with torch.device("meta"):
        made(Encoder(kind, dict(values)), modality, width)


@lru_cache(maxsize=MOST)
def _try_head(
    kind: FusionKind,
    values: Frozen,
    width: int,
    outputs: int,
    chosen: tuple[tuple[str, EncoderKind, Frozen, Modality], ...],
) -> frozenset[str]:
    modalities = {m: modality for m, _, _, modality in chosen}
    encoders = {m: Encoder(encoder, dict(settings)) for m, encoder, settings, _ in chosen}
    if kind.digest:
        return kind.check(encoders, modalities, width, outputs, dict(values))
    with torch.device("meta"):
        joined_on(Head(kind, width, dict(values)), modalities, outputs, encoders)
    return frozenset(kind.reads)


def _frozen(values: Mapping[str, Value]) -> Frozen:
    return tuple(sorted(values.items()))


@contextmanager
def _of(what: str, digest: str) -> Iterator[None]:
    """Errors about a net that does not come with the harness say which one they are about."""
    try:
        yield
    except UserError as error:
        if not digest or str(error).startswith("encoder.kind="):
            raise
        raise UserError(f"{what}: {error}.") from error
