"""`tables --paper`: one table of methods and datasets, written to one file, with the publications beside it."""

from dataclasses import astuple, dataclass
from pathlib import Path

from mcr_bench.bench.errors import UserError, unknown


@dataclass(frozen=True)
class PaperOptions:
    """What only `tables --paper` knows; None where it was not given."""

    methods: str | None = None
    datasets: str | None = None
    metric: str | None = None
    digits: int | None = None
    form: str | None = None
    output: Path | None = None

    def require_paper(self, paper: bool, others: bool) -> None:
        """UserError if one of them was given without --paper, or an option of the other tables with it.

        others: whether --dataset, --margin or --published was given.
        """
        if paper and others:
            raise UserError("--dataset, --margin and --published belong to the tables without --paper. Leave them out.")
        if not paper and any(value is not None for value in astuple(self)):
            raise UserError(
                "--methods, --datasets, --metric, --digits, --format and --output belong to --paper. Add it."
            )


def write_paper_table(tracking_uri: str | None, options: PaperOptions, baseline: str, cost_baseline: str) -> list[Path]:
    """Write the table, and for LaTeX its .bib file; returns the files. UserError for what is unknown."""
    from mcr_bench.bench.commands.output import open_record
    from mcr_bench.bench.commands.reading import claims_or_why, read_comparisons
    from mcr_bench.bench.commands.written import writing
    from mcr_bench.bench.core.files import write_whole
    from mcr_bench.bench.printable import shown
    from mcr_bench.bench.report.paper.contents import paper_table
    from mcr_bench.bench.report.paper.formats import FORMATS, bibtex
    from mcr_bench.bench.settings.arguments import parse_names

    if options.output is not None and not options.output.name:
        raise UserError(f"--output {options.output}: not allowed. Name a file, such as paper.tex.")
    form = _form(options.form, options.output)
    record = open_record(tracking_uri)
    known = read_comparisons(record, None, cost_baseline)
    if options.datasets is not None:
        names = parse_names("--datasets", options.datasets)
        for name in names:
            if name not in {one.dataset for one in known}:
                raise unknown("dataset on record", name, {one.dataset for one in known})
        known = sorted((one for one in known if one.dataset in names), key=lambda one: names.index(one.dataset))
    known = [one for one in known if not one.older]
    methods = None if options.methods is None else parse_names("--methods", options.methods)
    table = paper_table(known, claims_or_why(known, record, baseline, options.metric), methods, options.metric)
    suffix, make = FORMATS[form]
    path = options.output or record.home / "tables" / f"paper.{suffix}"
    made = {path: make(table, 1 if options.digits is None else options.digits)}
    if form == "latex":
        made[path.with_suffix(".bib")] = bibtex(table)
    with writing(path, "--output" if options.output else ""):
        for place, text in made.items():
            write_whole(place, shown(text))
    return list(made)


def _form(form: str | None, output: Path | None) -> str:
    """The format that was asked for, or the one that the file's ending means; LaTeX without either."""
    from mcr_bench.bench.report.paper.formats import FORMATS

    if form is not None and form not in FORMATS:
        raise unknown("--format", form, FORMATS)
    by_ending = {suffix: name for name, (suffix, _) in FORMATS.items()}
    ending = output.suffix.removeprefix(".") if output else "tex"
    if form is None and ending not in by_ending:
        raise UserError(f"--output {output}: its ending tells no format. Give --format {' or '.join(FORMATS)}.")
    return form or by_ending[ending]
