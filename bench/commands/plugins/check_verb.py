"""The command `check`; its heavy imports wait inside the function."""

from pathlib import Path
from typing import Annotated

import typer

from mcr_bench.bench.commands.options import AsJson, DataRoot
from mcr_bench.bench.commands.output import print_json, say
from mcr_bench.bench.commands.verb import verb


@verb
def check(
    target: Annotated[
        str,
        typer.Argument(help="A name, a file (./my_method.py, ./my_method.py:CLASS) or a class (PACKAGE:CLASS)."),
    ],
    data_root: DataRoot = Path("data"),
    as_json: AsJson = False,
) -> None:
    """Check that a plug-in does what every one must do, and print a card of what holds, with reasons and hints.

    Exit codes: 0 every property holds, 1 one does not, 2 wrong usage, or the file cannot be imported (within 15
    seconds). It takes seconds on a CPU, and no data but that of a dataset.
    """
    from mcr_bench.bench.testing.card_text import card_data, card_text
    from mcr_bench.bench.testing.served import checked_apart

    card = checked_apart(target, data_root=data_root)
    if as_json:
        print_json(card_data(card))
    else:
        say(card_text(card))
    if not card.holds:
        raise typer.Exit(1)
