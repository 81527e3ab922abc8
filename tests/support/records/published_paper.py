"""Published numbers of a paper that there is not, and runs for them: what the tests of published tables share."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.record.row import RunRow
from mcr_bench.tests.support.records.run_rows import run_row

ADAPTER = """
from mcr_bench.datasets.base import Dataset

class Elsewhere(Dataset):
    name = "elsewhere"
"""
NUMBERS = """source,arxiv_id,table,dataset,backbone,modalities,method,metric,mean,std,n_runs,url
Paper,1.2,Table 1,Set,Net,A-V,Joint,accuracy,62.0,0.3,3.0,u
Paper,1.2,Table 1,Set,Net,A-V,FiLM,accuracy,62,,,
Paper,1.2,Table 1,Set,Net,A,Audio,accuracy,50,0.5,1.0,
Paper,1.2,Table 1,Set,Net,A-V,Later,accuracy,70.25,,,
Paper,1.2,Table 1,Set,Big,A-V,Joint,accuracy,80,,,
Paper,1.2,Table 1,Set,Net,A-V,Joint,F1,61,,,
Paper,1.2,Table 1,Lost,Net,A-V,Joint,accuracy,11,,,
"""
MAPPING = """
ddof = 0
methods.Audio = { method = "unimodal", modality = 1 }
methods.Joint = { method = "joint" }
methods.FiLM = { method = "joint", settings = ["model.fusion=film"] }
methods.Later = { method = "later" }

[[tables]]
name = "Table 1"
title = "Paper, Table 1"
notes = ["a note of the mapping"]

[[tables.columns]]
title = "Set Net"
dataset = "Set"
backbone = "Net"
modalities = ["A-V", "A"]
metric = "accuracy"
ours = { dataset = "elsewhere", protocol = "official", preset = "paper", metric = "accuracy", modalities = ["audio", "video"] }

[[tables.columns]]
title = "Set Net F1"
dataset = "Set"
backbone = "Net"
modalities = ["A-V"]
metric = "F1"
ours = { dataset = "elsewhere", protocol = "official", preset = "paper", metric = "macro_f1", modalities = ["audio", "video"], subset = true, seeds = "3" }

[[tables.columns]]
title = "Set Big"
dataset = "Set"
backbone = "Big"
modalities = ["A-V"]
metric = "accuracy"
ours = { dataset = "elsewhere", protocol = "official", preset = "paper", metric = "accuracy", modalities = ["audio", "video"] }
not_comparable = "another backbone"

[[tables.columns]]
title = "Lost"
dataset = "Lost"
backbone = "Net"
modalities = ["A-V"]
metric = "accuracy"
ours = { dataset = "lost", protocol = "official", preset = "paper", metric = "accuracy", modalities = ["audio", "video"] }
"""  # noqa: E501
COMMAND = "mcr-bench run --methods joint --dataset elsewhere --protocol official --preset paper"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Published numbers of one paper, and a third party's dataset `elsewhere` with preset `paper`."""
    (tmp_path / "third_party_elsewhere.py").write_text(ADAPTER)
    (tmp_path / "third_party_elsewhere.toml").write_text('[paper]\norigin = "paper"\n')
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("elsewhere", "third_party_elsewhere:Elsewhere", "mcr_bench.datasets")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else [])
    monkeypatch.delitem(sys.modules, "third_party_elsewhere", raising=False)
    (tmp_path / "numbers").mkdir()
    (tmp_path / "numbers" / "paper.csv").write_text(NUMBERS)
    (tmp_path / "numbers" / "paper.toml").write_text(MAPPING)
    return tmp_path / "numbers"


def run(value: float, seed: int = 0, method: str = "joint", modalities: str = "audio,video", **changes: Any) -> RunRow:
    defaults = {"dataset": "elsewhere", "preset": "paper", "config": "c", "started": float(seed)}
    return run_row(method, seed, value, modalities=modalities, **defaults | changes)


def runs(*points: float, **changes: Any) -> list[RunRow]:
    return [run(value / 100, seed, **changes) for seed, value in enumerate(points)]


NEAR = (61.9, 62.1, 62.0, 61.8, 62.2, 62.0, 61.9, 62.1)
