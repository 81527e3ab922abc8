"""The HTML report: complete, escaped, deterministic; every cell leads to runs that are on the page."""

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.report.html.contents import Contents, Picture, Section, environment_of
from mcr_bench.bench.report.html.page import report_page, write_report
from mcr_bench.bench.report.html.runs import settings_of, shared_settings
from mcr_bench.tests.support.records.report_contents import HOSTILE, Parsed, compared, contents, picture, row, runs

TITLE = "toy · audio + video · protocol official · preset small"


def test_names_that_are_markup_stay_text() -> None:
    rows = runs(6, HOSTILE, dataset=f"data {HOSTILE}", tags={"protocol_card": HOSTILE, "device": HOSTILE})
    rows = [replace(r, settings={**r.settings, HOSTILE: HOSTILE}) for r in rows]
    rows.append(row("plus", 9, 0.1, status="failed", tags={"failure": HOSTILE}, dataset=f"data {HOSTILE}"))
    plain = contents(rows)
    title = plain.sections[0].comparison.title
    full = replace(
        plain,
        pictures=[picture(title, text="a < b & c"), Picture("race", HOSTILE, HOSTILE, title, HOSTILE)],
        published=[Table(HOSTILE, ("method", HOSTILE), (0, 0), [(HOSTILE, HOSTILE)], [HOSTILE])],
        ranks=HOSTILE,
        record=HOSTILE,
        facts={HOSTILE: HOSTILE},
    )
    page = Parsed(report_page(full))
    assert len(page.of("script")) == 1
    assert page.of("img") == []
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    assert page.text.count(HOSTILE) > 20


def test_nothing_is_fetched_and_no_other_script_may_run() -> None:
    rows = runs(6)
    text = report_page(contents(rows, pictures=[picture(TITLE)]))
    page = Parsed(text)
    addresses = [a[key] for _, a in page.elements for key in ("src", "href", "data", "action", "srcset") if a.get(key)]
    assert all(str(address).startswith(("#", "data:")) for address in addresses)
    assert not re.search(r"@import|url\((?!#)", text)
    policy = page.of("meta")[1]
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy["content"]).split(";"))
    script = re.search(r"<script>(.*)</script>", text, re.S)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"


def test_every_link_has_its_place_and_no_id_comes_twice() -> None:
    rows = runs(6) + runs(6, dataset="other", tags={"data_identity": "e"})
    figures = [picture(TITLE), picture(TITLE.replace("toy", "other")), picture("all datasets", "ranks")]
    page = Parsed(report_page(contents(rows, pictures=figures)))
    assert len(page.ids) == len(set(page.ids))
    assert {target[1:] for target in page.targets if target != "data:,"} <= set(page.ids)


def test_every_cell_of_a_comparison_leads_to_the_runs_of_its_line() -> None:
    text = report_page(contents(runs(6)))
    start = text.index("<tbody>")
    line = next(line for line in text[start:].splitlines() if ">minus</a>" in line)
    place = list(compared(runs(6))[0].lines).index("minus")
    assert line.count("<td") == line.count(f'href="#c0-l{place}-runs"') > 4
    assert f'href="#c0-l{place}-settings"' in line
    behind = text[text.index(f'id="c0-l{place}-runs"') :]
    behind = behind[: behind.index("</table>")]
    assert re.findall(r"run-\w+-\d", behind) == [f"run-minus-{seed}" for seed in range(6)]
    assert re.findall(r"key-\w+-\d", behind) == [f"key-minus-{seed}" for seed in range(6)]


def test_the_same_contents_give_the_same_bytes() -> None:
    rows = runs(6)
    first = report_page(contents(rows, pictures=[picture(TITLE)]))
    assert first == report_page(contents(list(reversed(rows)), pictures=[picture(TITLE)]))


def test_the_summary_says_what_the_primary_test_separates() -> None:
    # 10 pairs of one sign: p = 2 / 2^10, times 3 methods = .0059; `same` is 5 times above and 5 times below.
    text = Parsed(report_page(contents(runs(10)))).text
    assert "Better than ensembleplus (+2.05), in points" in text
    assert "Worse than ensembleminus (-3.05), in points" in text
    assert re.search(r"Not separated from ensemblesame \([+-]0\.00\), in points", text)


def test_a_design_that_cannot_say_names_the_command_that_would() -> None:
    # 3 methods: smallest p after Holm is 3 x 2 / 2^n; 7 pairs give .047 and 6 give .094.
    text = Parsed(report_page(contents(runs(3)))).text
    assert "This design cannot say: 3 (seed, fold) pairs cannot reach p <= 0.05" in text
    assert re.search(r"mcr-bench run --methods \S+ --dataset toy .* --seeds 7", text)
    assert "Better than" not in text


def test_a_comparison_without_statistics_says_why() -> None:
    found = compared(runs(6))[0]
    text = report_page(Contents([Section(found, "no ensemble has run")], "ensemble"))
    assert text.count("No statistics: no ensemble has run.") == 2
    assert "no bold type: no ensemble has run" in text
    assert "Secondary tests" not in text


def test_an_empty_record_is_a_page_too() -> None:
    page = Parsed(report_page(Contents([], "joint")))
    assert "The record has no finished runs yet." in page.text
    assert "Nothing has been tuned." in page.text


def test_the_protocol_card_tells_what_the_runs_share() -> None:
    text = report_page(contents(runs(6)))
    for name, value in (
        ("Protocol", "official: by actor"),
        ("Samples", "training 30, test 10"),
        ("Seeds", "0 to 5 (6)"),
        ("Preset", "small, origin: paper"),
        ("Optimiser", "adam, lr 0.1"),
    ):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in text


def test_settings_are_split_into_shared_and_differing() -> None:
    a, b = settings_of([row("a", 0, 0.5), row("a", 1, 0.5, params={"epochs": "6"})]), settings_of([row("b", 0, 0.5)])
    assert a["epochs"] == "5 | 6"
    assert shared_settings([a, b]) == {"optimizer.name": "adam", "optimizer.lr": "0.1"}
    assert shared_settings([]) == {}


def test_the_environment_counts_runs_per_value() -> None:
    rows = [row("a", seed, 0.5, tags={"commit": "" if seed else "abc"}) for seed in range(3)]
    found = environment_of(rows)
    assert found["commit"] == {"not recorded": 2, "abc": 1}
    assert found["torch"] == {"2.0": 3}
    assert list(found["commit"]) == ["not recorded", "abc"]


def test_two_comparisons_on_data_of_one_name_have_figures_of_their_own() -> None:
    rows = runs(6) + runs(6, tags={"data_identity": "e"})
    titles = [found.title for found in compared(rows)]
    assert len(set(titles)) == 2
    drawn = [picture(title, text=text) for title, text in zip(titles, ("first", "second"), strict=True)]
    text = report_page(contents(rows, pictures=drawn))
    assert text.index('id="c0"') < text.index(">first<") < text.index('id="c1"') < text.index(">second<")


def test_a_published_line_leads_to_the_runs_beside_it() -> None:
    columns = ("method", "our dataset", "our protocol", "our preset", "our modalities", "our method", "our settings")
    ours = ("toy", "official", "small", "audio + video")
    lines: list[tuple[str | float | int | None, ...]] = [
        ("Paper A", *ours, "minus", None, 50.0, 6),
        ("Paper B", *ours, "minus", "minus.dial=2", 50.0, 6),
        ("Paper C", *ours, "minus", None, None, None),
    ]
    table = Table("Published", (*columns, "ours", "n"), (0,) * 9, lines, [])
    dialled = {"overrides": "minus.dial=2", "config": "dialled"}
    rows = [
        *runs(6),
        *(row("minus", s, 0.4, label="minus [minus.dial=2]", tags=dialled, run_id=f"d{s}") for s in (0, 1)),
    ]
    text = report_page(contents(rows, published=[table]))
    shown = {name: next(s for s in text.splitlines() if name in s) for name in ("Paper A", "Paper B", "Paper C")}
    labels = list(compared(rows)[0].lines)
    assert f'href="#c0-l{labels.index("minus")}-runs"' in shown["Paper A"]
    assert f'href="#c0-l{labels.index("minus [minus.dial=2]")}-runs"' in shown["Paper B"]
    assert "href" not in shown["Paper C"]


@pytest.mark.parametrize(("settings", "folded"), [(2, False), (3, True)])
def test_the_commands_of_a_grid_open_on_demand(settings: int, folded: bool) -> None:
    grid = [
        row("plus", s, 0.5 + s / 100, label=f"plus [d={d}]", tags={"overrides": f"d={d}", "config": f"{d}"})
        for d in range(settings)
        for s in (0, 1)
    ]
    text = report_page(contents([*(row("ensemble", s, 0.4) for s in (0, 1)), *grid]))
    assert text.count("--set d=1") >= 3, "in the summary, the comparison and its protocol card"
    assert text.count(f"<summary>{settings + 1} commands</summary>") == (3 if folded else 0)


def test_tuning_budgets_are_shown_up_to_the_largest() -> None:
    place = {"dataset": "toy", "protocol": "p", "modalities": "a+b", "preset": "t", "metric": "accuracy"}
    curves = pd.DataFrame({"budget": [1, 2, 3], "expected": [0.1, 0.2, 0.3]})
    text = report_page(contents(runs(2), budgets=curves.assign(**place, method="m", untuned=0.05)))
    found = text[text.index("toy · a+b · protocol p · preset t") :]
    assert re.findall(r"<th scope=\"col\"[^>]*>([^<]*)</th>", found)[:5] == [
        *("method", "before tuning", "best of 1", "best of 2", "best of 3")
    ]
    assert re.findall(r'data-value="([^"]*)"', found)[:4] == ["0.05", "0.1", "0.2", "0.3"]


def test_numbers_sort_by_full_precision_and_what_is_missing_has_none() -> None:
    rows = [replace(r, unimodal={}) if r.method == "same" else r for r in runs(6)]
    text = report_page(contents(rows))
    line = next(s for s in text[text.index("<tbody>") :].splitlines() if ">same</a>" in s)
    # means of .50 .51 .52 twice with +-.005: .51
    value = re.search(r'data-value="(0\.51[^"]*|0\.50999[^"]*)"', line)
    assert value
    assert float(value[1]) == pytest.approx(0.51)
    assert re.search(r'<td class="num"><a[^>]*>-</a></td>', line)


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    made = contents(runs(2))
    path = write_report(made, tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8") == report_page(made)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "report.html", tmp_path / "folder"):
        with pytest.raises(UserError, match=re.escape(str(path))):
            write_report(contents(runs(2)), path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
