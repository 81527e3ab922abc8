"""The shared part of methods that are taught by the finished unimodal runs."""

from dataclasses import dataclass, field
from typing import ClassVar

from mcr_bench.methods.base import Group, Method, Requirement
from mcr_bench.methods.terms.distillation.teachers import Teachers
from mcr_bench.methods.terms.unimodal_start import unimodal_runs


@dataclass
class Taught(Method):
    """A method that requires the unimodal run of every modality, and has them as frozen teachers in training.

    The student itself starts from the initial weights that every method has.
    """

    group: ClassVar[Group] = "distillation"
    _teachers: Teachers | None = field(default=None, init=False, repr=False)

    def requires(self, modalities: tuple[str, ...]) -> list[Requirement]:
        return unimodal_runs(modalities)

    def on_fit_start(self) -> None:
        self._teachers = Teachers(self.fit)

    @property
    def teachers(self) -> Teachers:
        """The finished unimodal runs, from `on_fit_start` on."""
        assert self._teachers is not None
        return self._teachers
