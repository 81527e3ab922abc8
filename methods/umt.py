"""UMT: joint training in which each encoder's features are drawn towards those of its frozen unimodal teacher."""

from dataclasses import dataclass

from torch import Tensor

from mcr_bench.bench.fit import Batch, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.distillation.taught import Taught
from mcr_bench.methods.terms.distillation.teachers import feature_distance
from mcr_bench.methods.terms.modulation import Windowed


@dataclass
class Umt(Windowed, Taught):
    """Minimise L = CE(z, y) + weight sum_m mean (f_m - t_m)^2, with the features t_m of modality m's unimodal run.

    The mean is over the samples that have the modality and over the features. The teachers are in evaluation mode; the
    student starts from the initial weights that every method has.
    """

    weight: float = setting(
        10.0,
        "weight of the distance to the teachers' features; 0 = none",
        origin="BalanceBenchmark",
        at_least=0,
        space=Space(0.1, 100, log=True),
    )
    name = "umt"
    title = "UMT"
    reference = Reference("Improving Multi-Modal Learning with Uni-Modal Teachers", "arXiv 2021", "2106.11059")
    official_code = OfficialCode(state="read in someone else's code only")
    needs = Needs(at_least=2)
    neutral = (Neutral({"weight": 0.0}, "joint"),)
    deviations = (
        "The weight is that of BalanceBenchmark; the paper's could not be read.",
        "Teachers are the best epochs of the unimodal runs by validation, with the same encoders and settings.",
        "In a regression the fused loss is that of the task, an extension.",
    )

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        terms = super().loss(outputs, batch)
        if not self.active:
            return terms
        for m, features in outputs.features.items():
            taught = self.teachers.features(m, batch)
            terms[f"features/{m}"] = self.weight * feature_distance(features, taught, batch.having.get(m))
        return terms
