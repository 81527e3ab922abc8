"""What a call changes in the process that it runs in: draws from global generators, switches, replaced functions.

>>> import random
>>> draws(lambda: random.random())
['the random state of Python']
>>> changes(lambda: torch.Generator().manual_seed(0))
[]
"""

import pickle
import random
from collections.abc import Callable, Mapping

import numpy as np
import torch

from mcr_bench.bench.models.own.trial import trial
from mcr_bench.bench.testing.process import ProcessState


def draws(call: Callable[[], object]) -> list[str]:
    """The global generators that a call has drawn from or seeded, in words. Afterwards they are as they were."""
    with trial():
        before = _random()
        call()
        after = _random()
    return [name for name, state in before.items() if after[name] != state]


def changes(call: Callable[[], object]) -> list[str]:
    """What else of the process a call has changed, in words. Afterwards it is as it was."""
    with trial():
        state = ProcessState()
        call()
        told = state.changes()
        state.undo()
    return told


def _random() -> Mapping[str, bytes]:
    return {
        "the random state of Python": pickle.dumps(random.getstate()),
        "the random state of NumPy": pickle.dumps(np.random.get_state()),
        "the random state of torch": torch.get_rng_state().numpy().tobytes(),
    }
