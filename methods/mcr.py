"""MCR: multimodal training with a game between modalities, a contrastive term and a bottleneck term."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import MultimodalModel, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Method, Needs, Neutral, Reference, Requirement
from mcr_bench.methods.terms import game
from mcr_bench.methods.terms.ceb import FeatureDecoder, ceb
from mcr_bench.methods.terms.contrastive import nt_xent, score_bins
from mcr_bench.methods.terms.modes import evaluation_mode
from mcr_bench.methods.terms.perturb import brought, perturbed, perturbed_players, second_pass
from mcr_bench.methods.terms.unimodal_start import start_from_unimodal, unimodal_runs

CODE = "MCR code, CREMA-D ResNet-18"
OTHERS = {"greedy": -1.0, "independent": 0.0, "collaborative": 1.0}
DETACH: dict[str, game.Detach] = {"true": True, "false": False, "released": "released"}
WEIGHTS = Space(1e-3, 1, log=True)  # what the paper's own settings span
OFF = {"lambda_mipd": 0, "lambda_con": 0, "lambda_ceb": 0}


@dataclass
class MCR(Method):
    """L = CE(z, y) + lambda_uni sum_m CE(h_m, y) + lambda_mipd L_MIPD + lambda_con L_Con + lambda_ceb L_CEB.

    In L_MIPD player m (encoder and fusion slice) descends on sum_{S with m} -D_S + k sum_{S without m} -D_S, where D_S
    is the Jensen-Shannon divergence (regression: squared difference) of the output with coalition S perturbed from the
    intact output. For M >= 4 the sums are multiplied by 1 / (2^(M-1) - 1), so that all coalitions weigh as the two of
    M = 2; from M = 5 on 16 are drawn per step, each with its complement, scaled to the same expectation. `loss/mipd` is
    -sum_S D_S so weighed; `divergence/S` logs each D_S (M >= 5: `divergence/of_n`, the mean over coalitions of n).
    """

    name: ClassVar[str] = "mcr"
    reference: ClassVar[Reference] = Reference(
        "Balancing Multimodal Training Through Game-Theoretic Regularization", "NeurIPS 2025", "2411.07335"
    )
    needs: ClassVar[Needs] = Needs(own_heads=True, at_least=2)
    neutral: ClassVar[tuple[Neutral, ...]] = (
        Neutral({**OFF, "lambda_uni": 0}, equals="joint"),
        Neutral({**OFF, "lambda_uni": 1}, equals="multi-loss"),
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "the game and contrastive terms are added to the loss; the released two-modality class computes and drops them",
        "four and more modalities (ours): the sum over coalitions is divided by 2^(M-1) - 1, so that the game does not "
        "outweigh the loss, and from five on 16 coalitions are drawn per step; two and three: plain sums, as released",
        "any number of modalities by the coalition rule; the released three-modality code detaches one branch only and "
        "counts a coalition three times in collaborative mode",
        "the bottleneck term also counts in regression, where the released code drops it",
        "a batch of one skips the game; the released code loops forever",
        "the reference logits are detached: for two greedy modalities exactly the released game. For independent and "
        "collaborative ones detach_reference=released is it (false: for collaborative ones only); the released "
        "Something-Something class detaches; released for more than two modalities is an extension of ours",
        "the fusion bias gets no gradient of the game; released: it does unless greedy (detach_reference=released)",
        "perturbed outputs reuse the branches of the training pass (released two-modality code: latents=eval)",
        "noise has the biased standard deviation of the batch, a constant of the backward pass; released: the unbiased "
        "one, with its gradient (noise_std=released)",
        "the fusion bias is drawn as in every method, for equal initial weights; the released class starts it at 0",
        "from scratch by default (paper, CREMA-D ResNet-18: start=unimodal)",
    )

    lambda_mipd: float = setting(0.1, "weight of the game", origin=CODE, at_least=0, space=WEIGHTS)
    lambda_uni: float = setting(0.01, "weight of each own head's loss", origin=CODE, at_least=0, space=WEIGHTS)
    lambda_con: float = setting(1.0, "weight of the contrastive term", origin=CODE, at_least=0, space=WEIGHTS)
    lambda_ceb: float = setting(0.0, "bottleneck term; helps pre-trained encoders", origin=CODE, at_least=0)
    permutations: int = setting(32, "permutations (or noise draws) per step", origin=CODE, at_least=1)
    temperature: float = setting(0.5, "temperature of the contrastive term", origin="MCR code", at_least=1e-3)
    positives: Literal["scores", "bins"] = setting(
        "scores", "regression, contrastive term: positives share their score, or its nearest integer", origin="MCR code"
    )
    strategy: Literal["greedy", "independent", "collaborative"] = setting(
        "greedy", "what a player does with coalitions it is not in: k = -1, 0, 1", origin="MCR paper"
    )
    perturb: Literal["permute_latent", "noise_latent", "zero_latent", "noise_input", "zero_input"] = setting(
        "permute_latent", "what a coalition undergoes; input variants need encoder passes", origin="MCR paper"
    )
    noise_scale: float = setting(1.0, "noise in standard deviations of the batch (noise variants)", at_least=0)
    noise_std: Literal["biased", "released"] = setting(
        "biased", "that standard deviation: biased and without a gradient, or as the MCR code unbiased and with one"
    )
    latents: Literal["train", "eval"] = setting(
        "train",
        "where the branches of perturbed outputs come from: the training pass, or a second pass in evaluation mode",
        origin="MCR paper",
    )
    detach_reference: Literal["true", "false", "released"] = setting(
        "true",
        "gradient through the intact output: none (true), to each player as in its other terms (false), or that of the "
        "released two-modality code (released), which then also reaches the fusion bias",
        origin="MCR paper",
    )
    start: Literal["scratch", "unimodal"] = setting("scratch", "unimodal: encoders and own heads of the unimodal runs")

    def requires(self, modalities: tuple[str, ...]) -> list[Requirement]:
        return unimodal_runs(modalities) if self.start == "unimodal" else []

    def build(self, model: MultimodalModel) -> None:
        model.extras["ceb"] = FeatureDecoder(model.modalities, model.task.outputs, model.width)

    def on_fit_start(self) -> None:
        if self.start == "unimodal":
            start_from_unimodal(self.fit)

    def own_weight(self) -> float:
        return self.lambda_uni

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        task, target = self.fit.task, batch.target
        unimodal = torch.stack([task.loss(h, target) for h in outputs.own_logits.values()]).sum()
        labels = score_bins(batch.labels) if task.regression and self.positives == "bins" else batch.labels
        return {
            "fused": task.loss(outputs.logits, target),
            "unimodal": self.lambda_uni * unimodal,
            "mipd": self.lambda_mipd * self._game(outputs, batch),
            "contrastive": self.lambda_con * nt_xent(outputs.features, labels, self.temperature),
            "ceb": self.lambda_ceb * ceb(outputs.features, outputs.logits, outputs.model.extras["ceb"]),
        }

    def _game(self, outputs: Outputs, batch: Batch) -> Tensor:
        """-w sum_S D_S (`game.coalition_weight`); 0 for a batch of one, which has nothing to be permuted with."""
        if len(batch.index) < 2:
            return outputs.logits.new_zeros(())
        fusion = outputs.model.fusion
        distance = game.squared_difference if self.fit.task.regression else game.jensen_shannon
        others, detach = OTHERS[self.strategy], DETACH[self.detach_reference]
        with evaluation_mode(fusion):
            latent = second_pass(outputs.model, batch.inputs) if self.latents == "eval" else outputs
            absent = perturbed_players(latent, batch.inputs, self.perturb, self._perturbed)
            head, intact = game.head_of(fusion, game.reaches_all(detach, others)), brought(outputs)
            chosen = game.drawn_coalitions(list(intact), self.fit.generator("coalitions"))
            found = game.divergences(intact, absent, head, distance, others, detach, brought(latent), chosen)
        for coalition, divergence in found.items():
            self.fit.log(f"divergence/{_logged(coalition, len(intact))}", divergence)
        return -game.coalition_weight(len(intact), len(found)) * torch.stack(list(found.values())).sum()

    def _perturbed(self, modality: str, x: Tensor) -> Tensor:
        """Copies (P, B, ...) of x (B, ...) without the information about its sample."""
        generator = self.fit.generator("permutation", modality, device=x.device)
        return perturbed(self.perturb, x, self.permutations, self.noise_scale, generator, self.noise_std)


def _logged(coalition: game.Coalition, players: int) -> str:
    """A coalition by its members, or by their number where there would be dozens of curves."""
    return "+".join(coalition) if players <= game.EXACT else f"of_{len(coalition)}"
