"""The commands `list` and `describe`; their heavy imports wait inside the functions."""

from pathlib import Path
from typing import Annotated

import typer

from mcr_bench.bench.commands.options import AsJson, DataRoot, Listed
from mcr_bench.bench.commands.output import print_data, say
from mcr_bench.bench.commands.verb import verb


@verb
def list_(what: Annotated[Listed, typer.Argument(help="What to list.")], as_json: AsJson = False) -> None:
    """List methods, datasets, encoders, fusion heads, presets, experiments, figures; heads: which method has which."""
    from mcr_bench.bench.commands.listing import left_out_of, rows_of
    from mcr_bench.bench.report.fitted import grid_text

    print_data(rows_of(what), grid_text, as_json)
    for line in left_out_of(what):
        say(line, err=True)


@verb
def describe(
    name: Annotated[
        str,
        typer.Argument(
            help="A method, a dataset, an encoder, a fusion head, or the file (FILE.py:CLASS) or class "
            "(PACKAGE:CLASS) of one."
        ),
    ],
    data_root: DataRoot = Path("data"),
    as_json: AsJson = False,
) -> None:
    """Print the card of a method (formula, reference, settings with origin, needs, deviations), dataset or net."""
    from mcr_bench.bench.report.cards import card_of, card_text

    print_data(card_of(name, data_root), card_text, as_json)
