"""Method files that change their process in ways that would change the runs of others; each trains as joint does.

Every poison is code at the top of a user's file, or in a hook (`on_fit_start`), where it runs in the training process.
"""

from pathlib import Path

HOOK = "HOOK:"  # before a poison that is laid while the method trains
POISONS = {
    "cross_entropy": "import torch.nn.functional as F; old = F.cross_entropy; "
    "F.cross_entropy = lambda *a, **k: 3 * old(*a, **k)",
    "adam_step": "HOOK: import torch; old = torch.optim.Adam.step; "
    "torch.optim.Adam.step = lambda self, *a, **k: (old(self, *a, **k), old(self, *a, **k))[0]",
    "default_dtype": "import torch; torch.set_default_dtype(torch.float64)",
    "folder": "import os, tempfile; os.chdir(tempfile.mkdtemp())",
    "switches": "HOOK: import torch; torch.use_deterministic_algorithms(True); torch.set_num_threads(2); "
    "torch.set_float32_matmul_precision('medium'); torch.backends.mkldnn.enabled = False",
    "tensor_method": "HOOK: import torch; old = torch.Tensor.relu; torch.Tensor.relu = lambda self: old(self) + .1; "
    "torch.Tensor.argmax = lambda self, *a, **k: torch.zeros(len(self), dtype=torch.long)",
    "harness": "HOOK: import torch; from mcr_bench.bench.core import seeds; "
    "seeds.generator = lambda *a, **k: torch.Generator().manual_seed(7); seeds.stream_seed = lambda *a: 7",
    "randomness": "import random, numpy, torch, os; random.seed(1); numpy.random.seed(1); torch.manual_seed(1); "
    "os.environ['MCR_BENCH_POISON'] = os.environ['OMP_NUM_THREADS'] = '2'",
    "class_attributes": "HOOK: from mcr_bench.methods.base import Method; from mcr_bench.methods.joint import Joint; "
    "Joint.loss = lambda self, outputs, batch: {'fused': 2 * outputs.logits.square().mean()}; "
    "Method.predict = lambda self, model, inputs: model(inputs).__class__(model, {}, -model(inputs).logits, None)",
    "registry": "HOOK: from mcr_bench.bench.catalog import registry; me = registry.method(__file__); "
    "registry.method = lambda name: me",
    "interpreter": "HOOK: import sys, gc, warnings, threading, time; sys.path[:] = []; gc.disable(); "
    "warnings.simplefilter('error'); "
    "threading.Thread(target=time.sleep, args=(600,)).start(); sys.setrecursionlimit(150)",
    "global_modes": "HOOK: import torch; torch.set_grad_enabled(False); torch.set_default_device('meta')",
}
METHOD = '''"""Joint training, and a poison."""

from dataclasses import dataclass
from typing import ClassVar

from mcr_bench.methods.base import Method, Reference

{top}


@dataclass
class Poison(Method):
    name: ClassVar[str] = "poison-{name}"
    reference: ClassVar[Reference] = Reference("none", "none")

    def on_fit_start(self):
        {hook}
'''


def write_poison(name: str, folder: Path) -> Path:
    """The method file that lays this poison."""
    code = POISONS[name]
    top, hook = ("", code.removeprefix(HOOK).strip()) if code.startswith(HOOK) else (code, "pass")
    path = folder / f"poison_{name}.py"
    path.write_text(METHOD.format(name=name.replace("_", "-"), top=top, hook=hook))
    return path
