"""Which samples of a batch exchange modalities, so that a sample is put together from samples of different classes."""

import torch
from torch import Tensor


def partners(target: Tensor, usable: Tensor, draws: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """For each sample others of another class: their places (count, B), and (B,) bool, whether there is one.

    target: (B,) class indices. usable: (B,) bool, the samples that may be paired. draws: (B, B) from 0 to 1; a sample
    is paired with those with the largest draws in its row. Where there are fewer than `count`, the first comes again.

    >>> draws = torch.tensor([[0.1, 0.9, 0.2], [0.3, 0.1, 0.5], [0.6, 0.2, 0.1]])
    >>> partners(torch.tensor([0, 0, 1]), torch.ones(3, dtype=torch.bool), draws, count=1)
    (tensor([[2, 2, 0]]), tensor([True, True, True]))
    """
    allowed = (target[:, None] != target) & usable & usable[:, None]
    scores, order = torch.where(allowed, draws, -1.0).sort(dim=1, descending=True, stable=True)
    taken = torch.arange(count, device=target.device).clamp(max=len(target) - 1)
    others = torch.where(scores[:, taken] >= 0, order[:, taken], order[:, :1])
    return others.T, scores[:, 0] >= 0


def exchanged(others: Tensor, places: Tensor) -> Tensor:
    """Which sample each modality comes from in the misaligned samples, (M, M, B): [r, m, i] for sample i's r-th one.

    Of the sources i, j_1, ..., j_{M-1} of sample i modality m gets the one at place places_m + r, modulo M, so that
    each of the M misaligned samples has one modality of sample i itself; of two modalities they are (i, j) and (j, i).

    others: (M - 1, B), the partners j. places: (M, B), for each sample a permutation of 0 ... M - 1.
    """
    own = torch.arange(others.shape[1], device=others.device)[None]
    of_place = torch.cat([own, others])  # (M, B)
    shifts = torch.arange(len(places), device=places.device)[:, None, None]
    at = (places + shifts) % len(places)
    return of_place.expand(len(places), -1, -1).gather(1, at)
