"""The command `publish`; its heavy imports wait inside the function."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from mcr_bench.bench.commands.options import Baseline, TrackingUri
from mcr_bench.bench.commands.output import say
from mcr_bench.bench.commands.verb import verb


def publish_command(tested_against: str, cost_baseline: str) -> Callable[..., None]:
    """The command. tested_against: the default baseline of tests; cost_baseline: what costs are divided by."""

    @verb
    def publish(
        sources: Annotated[
            list[Path] | None,
            typer.Argument(metavar="[SOURCE...]", help="Homes, and archives of `submit`. Default: the record."),
        ] = None,
        output: Annotated[Path | None, typer.Option(help="The folder. Default: results/site.")] = None,
        baseline: Baseline = tested_against,
        most_gib: Annotated[float, typer.Option(min=0, help="The most GiB that an archive may unpack to.")] = 16.0,
        tracking_uri: TrackingUri = None,
    ) -> None:
        """Write a leaderboard as a static site: an index, and a page for each dataset and protocol.

        Pages need no network and no server. Numbers are computed again from predictions, and keys from settings: runs
        of which they differ are left out and named. Of a key that several sources hold the run of the first one counts.
        """
        from mcr_bench.bench.commands.verbs.publishing import publish

        for path in publish(sources or (), tracking_uri, output, baseline, cost_baseline, most_gib):
            say(path)

    return publish
