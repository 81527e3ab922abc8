"""What a method may see of its training: Fit, its meters, an evaluation; and what a method's hooks must return."""

from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.fit.returns import Groups, State
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel, Outputs
from mcr_bench.bench.problem.epoch_batches import EpochBatches
from mcr_bench.bench.problem.facts import Facts
from mcr_bench.bench.problem.samples import Batch
from mcr_bench.bench.task import Task

__all__ = [
    "Batch",
    "EpochBatches",
    "Evaluation",
    "Facts",
    "Groups",
    "Inputs",
    "MultimodalModel",
    "Outputs",
    "State",
    "Task",
]
