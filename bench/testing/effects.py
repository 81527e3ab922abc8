"""What a call changes in the process that it runs in: draws from global generators, switches, replaced functions.

>>> import random, torch
>>> draws(lambda: random.random())
['the random state of Python']
>>> changes(lambda: torch.Generator().manual_seed(0))
[]
"""

import random
from collections.abc import Callable

import numpy as np
import torch

from mcr_bench.bench.models.own.trial import trial
from mcr_bench.bench.testing.process import ProcessState, random_states


def draws(call: Callable[[], object]) -> list[str]:
    """The global generators that a call has drawn from or seeded, in words. Afterwards they are as they were."""
    with trial():
        before = random_states()
        call()
        after = random_states()
    return [f"the random state of {library}" for library, state in before.items() if after[library] != state]


def seeds(call: Callable[[], object]) -> list[str]:
    """The global generators that a call seeds, in words: where they stood before does not matter. They are put back.

    >>> seeds(lambda: torch.default_generator.manual_seed(0))
    ['the random state of torch']
    """
    after = []
    for place in (1, 2):
        with trial():
            random.seed(place)
            np.random.seed(place)
            torch.default_generator.manual_seed(place)
            call()
            after.append(random_states())
    return [f"the random state of {library}" for library, state in after[0].items() if after[1][library] == state]


def changes(call: Callable[[], object]) -> list[str]:
    """What else of the process a call has changed, in words. Afterwards it is as it was."""
    with trial():
        state = ProcessState()
        call()
        told = state.changes()
        state.undo()
    return told
