"""A class of methods under test: ready trainings of it on small data, and whether they work at all."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.process_state import process_state_kept
from mcr_bench.bench.errors import in_words
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.kinds import fusion_kinds
from mcr_bench.bench.planning.heads import usual_head
from mcr_bench.bench.problem.facts import Facts, Modality
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.card import NotApplicable, line_of
from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.bench.testing.process import ProcessState
from mcr_bench.bench.testing.trials.comparing import Tried, first_difference, odd_gradient, odd_term
from mcr_bench.bench.testing.trials.epochs import batches, begin_epoch, end_epoch, make_step, step, train
from mcr_bench.bench.testing.trials.narrowed import Narrowed
from mcr_bench.bench.testing.trials.setups import SIZE, TASKS, WIDTH, Plain, Setup
from mcr_bench.bench.testing.trials.stepped import fitting
from mcr_bench.datasets.base import Split
from mcr_bench.methods.base import Method

LATER = (2, 25)  # epochs in which the usual training is tried, too, as some methods begin to act at an epoch
VALIDATION = 1  # seed of the samples of the validation part
FAILS = "not checked, as plain training fails already"
State = Mapping[str, Tensor]


@dataclass
class Trials:
    """What is checked: the class of a method, and the file that defines it."""

    cls: type[Method]
    file: Path | None = None
    _tried: dict[tuple[int, Task], Tried] = field(default_factory=dict)

    @cached_property
    def usual(self) -> Setup:
        """Two modalities if it takes two, and classes if it learns them."""
        for count in (2, 3, 4, 5, 6, 1):
            for task in self.tasks(count).values():
                return self._setup(count, task)
        raise NotApplicable(f"it takes no data with up to {len(NAMES)} modalities: {self.refusal(2, TASKS['classes'])}")

    def _setup(self, count: int, task: Task) -> Setup:
        """Training with the first head that it is defined for."""
        return Setup(NAMES[:count], task, fusion=usual_head(self.cls).name)

    def with_count(self, count: int) -> Setup:
        """The usual training with so many modalities."""
        return replace(self.usual, modalities=NAMES[:count])

    def tasks(self, count: int) -> dict[str, Task]:
        """The tasks that it learns from so many modalities, by name."""
        return {name: task for name, task in TASKS.items() if self.refusal(count, task) is None}

    def setups(self) -> Iterator[tuple[str, Setup]]:
        """The usual training of every task that it learns without errors, with the name of the task."""
        count = len(self.usual.modalities)
        for name, task in self.tasks(count).items():
            if self.tried(count, task) == Tried():
                yield name, replace(self.usual, task=task)

    def refusal(self, count: int, task: Task) -> str | None:
        """Why it does not take so many modalities or this task; None if it does."""
        facts = Facts({m: Modality((WIDTH,)) for m in NAMES[:count]}, task)
        return self.cls.needs.unmet(count, task) or self.cls().skip(facts)

    def tried(self, count: int, task: Task) -> Tried:
        """What comes of an epoch with so many modalities; in the usual training, of later ones too."""
        key, setup = (count, task), self._setup(count, task)
        if key not in self._tried:
            self._tried[key] = self.tried_with(setup, *(LATER if setup == self.usual else ()))
        return self._tried[key]

    def tried_with(self, setup: Setup, *later: int) -> Tried:
        """What comes of the first epoch of this training, and of these later ones."""
        where = ""
        try:
            method = self.start(setup)
            for epoch in (1, *later):
                method.fit.epoch, where = epoch - 1, f"in epoch {epoch}: " if epoch > 1 else ""
                if (seen := self._epoch(method)) != Tried():
                    return seen.at(where)
        except (Exception, SystemExit) as error:  # of any type: the code is somebody else's
            return Tried(error=f"{in_words(error)}{line_of(error, self.file)}").at(where)
        return Tried()

    def _epoch(self, method: Method) -> Tried:
        """What is not finite in an epoch."""
        begin_epoch(method)
        for batch in batches(method) if self.cls.trains else ():
            make_step(method, batch)
            seen = Tried(term=odd_term(method), gradient=odd_gradient(method))
            if seen != Tried():
                return seen
        end_epoch(method)
        return Tried()

    def working(self, *wanted: int) -> list[int]:
        """Of these numbers of modalities those that it takes and can be trained with.

        NotApplicable where there are none; the first properties of the kit say why.
        """
        task = self.usual.task
        works = [n for n in wanted if self.refusal(n, task) is None and self.tried(n, task) == Tried()]
        if not works:
            raise NotApplicable(f"it does not take {' or '.join(map(str, wanted))} modalities")
        return works

    def start(
        self,
        setup: Setup | None = None,
        *,
        cls: type[Method] | None = None,
        data: Split | None = None,
        dependencies: list[State] | None = None,
        prepare: Callable[[Fit], None] = lambda _: None,
    ) -> Method:
        """A method that is ready to train; its `fit` has a validation part of its own.

        setup: what the training is of; by default the usual one. cls: another class to train. data: other training
        samples. dependencies: other weights to start from. prepare: as of `make_fit`.
        """
        setup = setup or self.usual
        method = build(cls or self.cls, setup.values)
        allowed = method.variants(setup.modalities)[0]
        needed = self.needed(method, setup) if dependencies is None else dependencies

        def prepared(fit: Fit) -> None:
            fit.val = setup.part(allowed, VALIDATION)
            _without_dropout(fit.model.fusion)
            prepare(fit)

        make_fit(
            method,
            allowed,
            setup.task,
            fusion=setup.fusion,
            dtype=setup.dtype,
            dependencies=[dict(weights) for weights in needed],
            encoder=fitting(setup.encoder, fusion_kinds()[setup.fusion]),
            data=data or setup.part(allowed),
            prepare=prepared,
            **{"batch_size": SIZE, **setup.training},  # type: ignore[arg-type]  # they are settings alone
        )
        return method

    def needed(self, method: Method, setup: Setup) -> list[State]:
        """The weights of the runs that a method starts from, each trained for one step."""
        allowed = method.variants(setup.modalities)[0]
        plainly = replace(setup, values={}, training={})
        return [trained(r.method, replace(plainly, modalities=r.modalities), 1) for r in method.requires(allowed)]

    @cached_property
    def refused(self) -> bool:
        """Whether even asking the method what it takes raises an error."""
        try:
            _ = self.usual
        except NotApplicable:
            raise
        except (Exception, SystemExit):  # of any type; the first property says which
            return True
        return False

    @cached_property
    def fails(self) -> bool:
        """Whether an epoch of the usual training fails."""
        return self.refused or self.tried(len(self.usual.modalities), self.usual.task) != Tried()

    @cached_property
    def narrowed(self) -> Narrowed:
        """What a step and a prediction turn into fewer bits than float64, where inputs and weights have that type."""
        seen = Narrowed(self.file)
        with self.alone():
            method = self.start(replace(self.usual, dtype=torch.float64))
            try:
                with seen:
                    step(method)
                    method.fit.model.eval()
                    method.predict(method.fit.model, whole_batch(method.fit).inputs)
            except (Exception, SystemExit) as error:
                seen.error = f"{in_words(error)}{line_of(error, self.file)}"
        return seen

    @cached_property
    def trouble(self) -> str:
        """Why nothing more can be learned of how it trains, as another property says already; '' if all is well."""
        if self.fails:
            return FAILS
        return "not checked, as two trainings of the same seed differ already" if self.difference else ""

    @cached_property
    def difference(self) -> str:
        """The first tensor in which two trainings of the same seed differ; '' if they are equal."""
        return first_difference(self._twice(), self._twice())

    def _twice(self) -> State:
        with self.alone():
            return train(self.start(), 2).fit.model.state_dict()

    @cached_property
    def changes(self) -> list[str]:
        """What an epoch changes that belongs to the whole process; it is undone."""
        if self.refused:
            return []
        train(self.start(cls=Plain))  # what any first training sets by itself
        state = ProcessState()
        with process_state_kept():
            with suppress(Exception, SystemExit):  # of any type: other properties tell of it
                method = self.start()
                if self.cls.trains:
                    train(method)
            changes = state.changes()
            state.undo()
        return changes

    @contextmanager
    def alone(self) -> Iterator[None]:
        """After the block the process is as it was, whatever the method does to it."""
        state = ProcessState() if self.changes else None
        with process_state_kept():
            try:
                yield
            finally:
                if state is not None:
                    state.undo()


def _without_dropout(head: nn.Module) -> None:
    """A fusion head without dropout, which is the head's and no property of a method."""
    for part in head.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0


@cache
def trained(name: str, setup: Setup, steps: int) -> State:
    """The weights of a registered method that others need or are compared with, after so many steps."""
    method = Trials(registry.method(name)).start(setup)
    for _ in range(steps):
        step(method)
    return method.fit.model.state_dict()
