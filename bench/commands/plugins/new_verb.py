"""The command `new`; its heavy imports wait inside the function."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mcr_bench.bench.commands.output import say
from mcr_bench.bench.commands.verb import verb


class Written(StrEnum):
    METHOD = "method"
    DATASET = "dataset"
    ENCODER = "encoder"
    FUSION = "fusion"


def new_command(baseline: str) -> Callable[[Written, str, Path], None]:
    """The command; baseline: the method with which it tells users to try what they have written."""

    @verb
    def new(
        kind: Annotated[Written, typer.Argument(help="What to write.")],
        name: Annotated[str, typer.Argument(help="Its name: letters, digits, - and _, a letter first.")],
        folder: Annotated[Path, typer.Option(help="Where to write it.")] = Path(),
    ) -> None:
        """Write a working file of your own and its test, to start from: FOLDER/NAME.py and FOLDER/test_NAME.py."""
        from mcr_bench.bench.commands.plugins.new_files import next_steps, write_new

        say(next_steps(kind.value, write_new(kind.value, name, folder), baseline))

    return new
