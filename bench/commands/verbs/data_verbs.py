"""The commands `data info`, `data prepare` and `data verify`; their heavy imports wait inside the functions."""

from pathlib import Path
from typing import Annotated

import typer

from mcr_bench.bench.commands.options import AsJson, DataRoot, DatasetName, Dials, PresetName
from mcr_bench.bench.commands.output import print_json, say
from mcr_bench.bench.commands.verb import verb

data_app = typer.Typer(help="Show which files to download, prepare a dataset, and verify it.", no_args_is_help=True)


@data_app.command()
@verb
def info(
    name: DatasetName,
    data_root: DataRoot = Path("data"),
    preset: PresetName = None,
    settings: Dials = None,
) -> None:
    """Show what to download and from whom, the licence, sizes, the folder layout, protocols and how to prepare."""
    from mcr_bench.bench.audit.info import info_of
    from mcr_bench.bench.commands import data

    say(info_of(data.dataset_of(name, data_root, preset, settings or [])))


@data_app.command()
@verb
def prepare(
    name: DatasetName,
    source: Annotated[Path, typer.Option(help="The raw folder. It is only read.", exists=True, file_okay=False)],
    splits: Annotated[
        list[Path] | None, typer.Option(help="The file of a split list that is not in the raw folder; repeatable.")
    ] = None,
    data_root: DataRoot = Path("data"),
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Decoding processes. Default: one per core. Small sets use one.")
    ] = None,
    preset: PresetName = None,
    settings: Dials = None,
) -> None:
    """Read the raw files of a dataset and write them, ready to load, to DATA_ROOT/NAME.

    Clips that are prepared already are kept, and an interrupted preparation continues where it stopped.
    """
    from mcr_bench.bench.commands import data

    say(data.prepare(data.dataset_of(name, data_root, preset, settings or []), source, splits or [], jobs))


@data_app.command()
@verb
def verify(
    name: DatasetName,
    data_root: DataRoot = Path("data"),
    preset: PresetName = None,
    settings: Dials = None,
    content: Annotated[
        bool, typer.Option("--content", help="Also read every prepared sample, and compare it with its checksum.")
    ] = False,
    lists: Annotated[
        Path | None,
        typer.Option(help="Audit the split lists in this folder alone, without any recording."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count the prepared clips, list what is missing, and check whether the parts of every protocol are disjoint.

    Parts are compared by id, group and content. Overlaps in official lists are reported and are not an error: the exit
    code is 0. It is 2 if samples are damaged.
    """
    from mcr_bench.bench.audit.verify import verification_of
    from mcr_bench.bench.audit.verify_text import data_of, text_of
    from mcr_bench.bench.commands import data

    chosen = data.dataset_of(name, data_root, preset, settings or [])
    if lists is not None:
        data.use_lists_alone(chosen, lists, content)
    verification = verification_of(chosen, content)
    if as_json:
        print_json(data_of(verification))
    else:
        say(text_of(verification))
    if verification.damaged:
        raise typer.Exit(2)
