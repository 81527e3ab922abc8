"""Clusters of features, how well they agree with the classes, and how far an encoder moves back for it."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

STARTS = 10  # of which the one with the smallest sum of squares is taken
ROUNDS = 300  # the largest number of rounds of one start


def separability(features: Tensor, target: Tensor, classes: int, generator: torch.Generator) -> Tensor:
    """How well k-means finds the classes in features (N, d), scaled to [-1, 1]: the purity () of its C clusters.

    target: (N,) class indices. generator: draws the first centres, on the device of the features.

    >>> features = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    >>> separability(features, torch.tensor([0, 0, 1, 1]), 2, torch.Generator().manual_seed(0))
    tensor(1., dtype=torch.float64)
    """
    return purity(kmeans(between_minus_one_and_one(features), classes, generator), target)


def way_back(train: Tensor, val: Tensor, strength: float) -> Tensor:
    """The share a = tanh(strength |train - val|) of the way back to the initial weights, of purities () each.

    >>> way_back(torch.tensor(0.9), torch.tensor(0.4), strength=2.0)
    tensor(0.7616)
    """
    return torch.tanh(strength * (train - val).abs())


def between_minus_one_and_one(rows: Tensor) -> Tensor:
    """Rows (N, d) with every column scaled and shifted so that it reaches from -1 to 1; a constant column is -1.

    >>> between_minus_one_and_one(torch.tensor([[0.0, 7.0], [1.0, 7.0], [4.0, 7.0]]))
    tensor([[-1.0000, -1.0000],
            [-0.5000, -1.0000],
            [ 1.0000, -1.0000]])
    """
    low, high = rows.aminmax(dim=0)
    span = torch.where(high > low, high - low, 1.0)
    return 2 * (rows - low) / span - 1


def kmeans(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """The cluster (N,) int64 of each of the rows (N, d): Lloyd's rounds from centres drawn as k-means++ draws them.

    Of ten starts the one with the smallest sum of squared distances is taken. A centre that no row is closest to stays
    where it is. generator: on the device of the rows.

    >>> kmeans(torch.tensor([[0.0], [0.1], [5.0]]), 2, torch.Generator().manual_seed(0)).diff().abs()
    tensor([0, 1])
    """
    runs = [_settled(rows, _drawn_centres(rows, count, generator)) for _ in range(STARTS)]
    return min(runs, key=lambda run: run[0])[1]


def purity(clusters: Tensor, target: Tensor) -> Tensor:
    """The share () float64 of samples whose class is the most frequent one in their cluster.

    clusters, target: (N,) int64.

    >>> purity(torch.tensor([0, 0, 0, 1]), torch.tensor([2, 2, 1, 1]))
    tensor(0.7500, dtype=torch.float64)
    """
    pairs = one_hot(clusters).T.double() @ one_hot(target).double()
    return pairs.amax(1).sum() / len(target)


def _drawn_centres(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Centres (count, d), each a row; its probability grows with the squared distance to those drawn before."""
    weights = torch.ones_like(rows[:, 0])
    centres: list[Tensor] = []
    for _ in range(count):
        centres.append(rows[torch.multinomial(weights, 1, generator=generator)])
        away = torch.cdist(rows, torch.cat(centres)).square().amin(1)
        weights = torch.where(away.sum() > 0, away, 1.0)
    return torch.cat(centres)


def _settled(rows: Tensor, centres: Tensor) -> tuple[float, Tensor]:
    """The sum of squared distances, and the clusters (N,), once no row changes its cluster any more."""
    clusters = torch.cdist(rows, centres).argmin(1)
    for _ in range(ROUNDS):
        members = one_hot(clusters, len(centres)).to(rows)
        sizes = members.sum(0)[:, None]
        centres = torch.where(sizes > 0, members.T @ rows / sizes.clamp(min=1), centres)
        before, clusters = clusters, torch.cdist(rows, centres).argmin(1)
        if torch.equal(before, clusters):
            break
    return float((rows - centres[clusters]).square().sum()), clusters
