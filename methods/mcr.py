"""MCR: multimodal training with a game between modalities, a contrastive term and a bottleneck term."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import MultimodalModel, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.datasets.base import Batch, Facts
from mcr_bench.methods.base import Group, Method, Needs, Neutral, OfficialCode, Reference, Requirement
from mcr_bench.methods.terms.distances import slopes_of
from mcr_bench.methods.terms.features.ceb import FeatureDecoder, ceb
from mcr_bench.methods.terms.features.contrastive import nt_xent, score_bins
from mcr_bench.methods.terms.games import game
from mcr_bench.methods.terms.games.additive_game import Rules
from mcr_bench.methods.terms.games.additive_game import game as additive_game
from mcr_bench.methods.terms.games.perturb import brought, orders_of, perturbed, perturbed_players, second_pass
from mcr_bench.methods.terms.losses import own_losses, stacked
from mcr_bench.methods.terms.modes import evaluation_mode
from mcr_bench.methods.terms.unimodal_start import start_from_unimodal, unimodal_runs

CODE = "MCR code, CREMA-D ResNet-18"
OTHERS = {"greedy": -1.0, "independent": 0.0, "collaborative": 1.0}
DETACH: dict[str, game.Detach] = {"true": True, "false": False, "released": "released"}
WEIGHTS = Space(1e-3, 1, log=True)  # what the paper's own settings span
OFF = {"lambda_mipd": 0, "lambda_con": 0, "lambda_ceb": 0}


@dataclass
class MCR(Method):
    """Minimise L = CE(z, y) + lambda_uni sum_m CE(h_m, y) + lambda_mipd L_MIPD + lambda_con L_Con + lambda_ceb L_CEB.

    L_MIPD is a game of the modalities. Player m (encoder and fusion slice) minimises
    -sum_{S with m} D_S - k sum_{S without m} D_S, where D_S is the Jensen-Shannon divergence (of several labels its
    mean over labels, in a regression the squared difference) between the output with the modalities of coalition S
    perturbed and the intact output, and k = -1, 0 or 1 is the strategy. With four or more modalities the sums are
    multiplied by 1 / (2^(M-1) - 1), so that all coalitions together weigh as much as the two of M = 2. With five or
    more, 16 coalitions are drawn per step, each with its complement, and scaled so that the expectation is the same.

    The gradients of the game and of the contrastive term are in closed form: they equal those of the formulas up to
    rounding. The contrastive and the bottleneck term are not computed where their weight is 0.

    `loss/mipd` logs the weighted -sum_S D_S, and `divergence/S` each D_S; with five or more modalities
    `divergence/of_n` logs the mean over coalitions of n.
    """

    name: ClassVar[str] = "mcr"
    title: ClassVar[str] = "MCR"
    group: ClassVar[Group] = "multi-objective"
    selections: ClassVar[tuple[str, ...]] = ("table1", "primary")
    official_code: ClassVar[OfficialCode | None] = OfficialCode(
        "github.com/kkontras/MCR",
        state="the class for two modalities does not add the game and the contrast to the loss",
    )
    reference: ClassVar[Reference] = Reference(
        "Balancing Multimodal Training Through Game-Theoretic Regularization", "NeurIPS 2025", "2411.07335"
    )
    needs: ClassVar[Needs] = Needs(own_heads=True, own_features=True, at_least=2)
    neutral: ClassVar[tuple[Neutral, ...]] = (
        Neutral({**OFF, "lambda_uni": 0}, equals="joint"),
        Neutral({**OFF, "lambda_uni": 1}, equals="multi-loss"),
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "A sample that lacks a modality, or of which it is dropped, has no own loss for it, and its feature takes no "
        "part in the contrastive and the bottleneck term. D_S is a mean over the samples that have all of S, which are "
        "permuted among themselves, and a player gets nothing from samples that lack it; the mean training input, or "
        "zeros, stand in for it in the outputs of these samples. The paper defines samples that have all modalities.",
        "The game and contrastive terms are added to the loss. The released two-modality class computes them but does "
        "not add them.",
        "Four and more modalities are an extension: the sum over coalitions is divided by 2^(M-1) - 1, so that the "
        "game does not outweigh the loss, and with five or more 16 coalitions are drawn per step. Two and three "
        "modalities have plain sums, as in the released code.",
        "The coalition rule holds for any number of modalities. The released three-modality code detaches only one "
        "branch, and counts a coalition three times in collaborative mode.",
        "The bottleneck term is used in a regression too. The released code leaves it out there.",
        "With several labels or scores, an extension, samples are positives of each other only if all are equal "
        "(`positives=bins`: all rounded scores).",
        "A batch of one sample has no game. The released code loops forever on it.",
        "The reference logits are detached. For two modalities and the greedy strategy this is exactly the released "
        "game. For the independent and collaborative strategies `detach_reference=released` is the released game "
        "(`false` is it for the collaborative strategy only). The released Something-Something class detaches them. "
        "`released` with more than two modalities is an extension.",
        "The fusion bias gets no gradient from the game. In the released code it does, except with the greedy strategy "
        "(`detach_reference=released`).",
        "Perturbed outputs use the branches of the training pass. The released two-modality code makes another pass in "
        "evaluation mode (`latents=eval`).",
        "Noise has the biased standard deviation of the batch, which gets no gradient. The released code takes the "
        "unbiased one, with a gradient (`noise_std=released`).",
        "The initial fusion bias is random, as in every method, so that all methods start from the same weights. The "
        "released class starts it at 0.",
        "Training starts from scratch by default. In the paper, CREMA-D with ResNet-18 has `start=unimodal`.",
    )

    lambda_mipd: float = setting(0.1, "weight of the game", origin=CODE, at_least=0, space=WEIGHTS)
    lambda_uni: float = setting(0.01, "weight of each own head's loss", origin=CODE, at_least=0, space=WEIGHTS)
    lambda_con: float = setting(1.0, "weight of the contrastive term", origin=CODE, at_least=0, space=WEIGHTS)
    lambda_ceb: float = setting(
        0.0, "weight of the bottleneck term, which helps with pre-trained encoders", origin=CODE, at_least=0
    )
    permutations: int = setting(32, "number of permutations, or of noise draws, per step", origin=CODE, at_least=1)
    temperature: float = setting(0.5, "temperature of the contrastive term", origin="MCR code", at_least=1e-3)
    positives: Literal["scores", "bins"] = setting(
        "scores",
        "contrastive term in a regression: which samples are positives; scores: those with an equal score; bins: those "
        "whose scores round to the same whole number",
        origin="MCR code",
    )
    strategy: Literal["greedy", "independent", "collaborative"] = setting(
        "greedy",
        "how a player treats coalitions without it; greedy: it counteracts them (k = -1); independent: it ignores them "
        "(k = 0); collaborative: it supports them (k = 1)",
        origin="MCR paper",
    )
    perturb: Literal["permute_latent", "noise_latent", "zero_latent", "noise_input", "zero_input"] = setting(
        "permute_latent",
        "how a coalition's modalities are perturbed: latents or inputs, permuted in the batch, with noise, or replaced "
        "by zeros; inputs need further passes through the encoders",
        origin="MCR paper",
    )
    noise_scale: float = setting(
        1.0, "size of the noise, as a multiple of the standard deviation over the batch", at_least=0
    )
    noise_std: Literal["biased", "released"] = setting(
        "biased",
        "which standard deviation the noise has; biased: the biased one, without a gradient; released: the unbiased "
        "one, with a gradient, as in the MCR code",
    )
    latents: Literal["train", "eval"] = setting(
        "train",
        "where the intact branches of perturbed outputs come from; train: the training pass; eval: a second pass in "
        "evaluation mode",
        origin="MCR paper",
    )
    detach_reference: Literal["true", "false", "released"] = setting(
        "true",
        "gradient through the intact output; true: none; false: to each player as in its other terms; released: as in "
        "the released two-modality code, where it also reaches the fusion bias",
        origin="MCR paper",
    )
    start: Literal["scratch", "unimodal"] = setting(
        "scratch",
        "initial weights; scratch: random; unimodal: those of the unimodal runs for encoders and own heads",
    )

    def requires(self, modalities: tuple[str, ...]) -> list[Requirement]:
        return unimodal_runs(modalities) if self.start == "unimodal" else []

    def skip(self, facts: Facts) -> str | None:
        """Noise on inputs needs numbers."""
        return facts.unmovable("perturb=noise_input adds noise to inputs") if self.perturb == "noise_input" else None

    def build(self, model: MultimodalModel) -> None:
        model.extras["ceb"] = FeatureDecoder(model.modalities, model.task.outputs, model.width)

    def on_fit_start(self) -> None:
        if self.start == "unimodal":
            start_from_unimodal(self.fit)

    def own_weight(self) -> float:
        return self.lambda_uni

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        task, target = self.fit.task, batch.target
        own = own_losses(task, outputs, target, batch.having, batch.own)
        return {
            "fused": task.loss(outputs.logits, target),
            "unimodal": self.lambda_uni * reduce(add, own.values()),
            "mipd": self.lambda_mipd * self._game(outputs, batch),
            "contrastive": self._contrastive(outputs, batch),
            "ceb": self._bottleneck(outputs, batch),
        }

    def _contrastive(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The contrastive term with its weight, a tensor (); it is not computed where the weight is 0."""
        if not self.lambda_con:
            return outputs.logits.new_zeros(())
        bins = self.fit.task.regression and self.positives == "bins"
        labels = score_bins(batch.labels) if bins else batch.labels
        return self.lambda_con * nt_xent(outputs.features, labels, self.temperature, batch.having)

    def _bottleneck(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The bottleneck term with its weight, a tensor (); it is not computed where the weight is 0."""
        if not self.lambda_ceb:
            return outputs.logits.new_zeros(())
        return self.lambda_ceb * ceb(outputs.features, outputs.logits, outputs.model.extras["ceb"], batch.having)

    def _game(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The term -w sum_S D_S, a tensor (), w being `game.coalition_weight`; 0 for a batch of one sample."""
        if len(batch.index) < 2:
            return outputs.logits.new_zeros(())
        players, fusion = list(brought(outputs)), outputs.model.fusion
        chosen = self._coalitions(players)
        play = self._additive_game if fusion.additive else self._any_game
        with evaluation_mode(fusion):
            latent = second_pass(outputs.model, batch) if self.latents == "eval" else outputs
            total, divergences = play(outputs, latent, batch, chosen)
        self.fit.log_each([f"divergence/{_logged(s, len(players))}" for s in chosen], divergences)
        return -game.coalition_weight(len(players), len(chosen)) * total

    def _coalitions(self, players: list[str]) -> list[game.Coalition]:
        if len(players) <= game.EXACT:
            return game.coalitions(players)
        return game.drawn_coalitions(players, self.fit.generator("coalitions"))

    def _additive_game(
        self, outputs: Outputs, latent: Outputs, batch: Batch, chosen: list[game.Coalition]
    ) -> tuple[Tensor, Tensor]:
        """sum_S D_S, a tensor (), and the chosen D_S, (S,), of an additive head.

        latent: the pass that gives the branches beside perturbed ones.
        """
        intact, orders, perturbed, having = brought(outputs), None, None, batch.having
        if self.perturb == "permute_latent":
            orders = torch.stack([self._orders(m, x, having.get(m)) for m, x in intact.items()])
        else:
            change = partial(self._perturbed, having)
            copies = perturbed_players(latent, batch.inputs, self.perturb, change, batch.dropped)
            perturbed = torch.stack([copies[m] for m in intact])
        present = None if latent is outputs else torch.stack([brought(latent)[m] for m in intact])
        return additive_game(
            self._rules(list(intact), chosen),
            outputs.model.fusion.bias,
            torch.stack(list(intact.values())),
            present,
            perturbed,
            orders,
            stacked(list(intact), having),
        )

    def _rules(self, players: list[str], chosen: list[game.Coalition]) -> Rules:
        others, detach = OTHERS[self.strategy], DETACH[self.detach_reference]
        all_learn = game.reaches_all(detach, others)
        return Rules(
            coalitions=[tuple(players.index(m) for m in s) for s in chosen],
            others=others,
            reference=1.0 if all_learn else None if detach else others,
            bias_learns=all_learn,
            distance=slopes_of(self.fit.task),
        )

    def _any_game(
        self, outputs: Outputs, latent: Outputs, batch: Batch, chosen: list[game.Coalition]
    ) -> tuple[Tensor, Tensor]:
        """As `_additive_game`, of any fusion head, which is computed once per coalition."""
        distance = game.distance_of(self.fit.task)
        others, detach = OTHERS[self.strategy], DETACH[self.detach_reference]
        head = game.head_of(outputs.model.fusion, game.reaches_all(detach, others))
        having = batch.having
        change = partial(self._perturbed, having)
        absent = perturbed_players(latent, batch.inputs, self.perturb, change, batch.dropped)
        terms = game.divergences(
            brought(outputs), absent, head, distance, others, detach, brought(latent), chosen, having
        )
        values = torch.stack(list(terms.values()))
        return values.sum(), values

    def _orders(self, modality: str, x: Tensor, having: Tensor | None) -> Tensor:
        """The permutations (P, B) of the batch that take the place of x (B, ...) of a modality."""
        generator = self.fit.generator("permutation", modality, device=x.device)
        return orders_of(self.permutations, len(x), generator, having)

    def _perturbed(self, having: Mapping[str, Tensor], modality: str, x: Tensor) -> Tensor:
        """P copies (P, B, ...) of x (B, ...) that do not hold the information about their sample."""
        generator = self.fit.generator("permutation", modality, device=x.device)
        return perturbed(
            self.perturb, x, self.permutations, self.noise_scale, generator, self.noise_std, having.get(modality)
        )


def _logged(coalition: game.Coalition, players: int) -> str:
    """The name of a coalition's curve: its members, or with many players, which would give dozens, their number."""
    return "+".join(coalition) if players <= game.EXACT else f"of_{len(coalition)}"
