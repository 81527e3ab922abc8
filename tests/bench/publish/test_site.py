"""`publish`: homes and archives become pages that need no network, in which whatever records hold is text."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcr_bench.bench.analysis.claims import claims
from mcr_bench.bench.publish.gathered import COMPUTED, Source
from mcr_bench.bench.publish.site.board import board_table, optimiser_of, tuning_of, verdict
from mcr_bench.tests.support.records.homes import call
from mcr_bench.tests.support.records.moving import rewrite, sealed
from mcr_bench.tests.support.records.report_contents import HOSTILE, Parsed, compared, row, runs
from mcr_bench.tests.support.records.submitted import Entries, run_in

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PAGE = "board-synthetic-paper.html"


def forged(entries: Entries) -> None:
    """A number that is wrong, the name of another method, and a name that is markup."""
    key, _ = run_in(entries, "joint")
    sealed(entries, key, lambda run: run["metrics"].update({"test/accuracy": [[0, 0.99, 1]]}))  # type: ignore[attr-defined]
    key, _ = run_in(entries, "joint", 1)
    sealed(entries, key, lambda run: run["tags"].update(label="mcr"))  # type: ignore[attr-defined]
    for seed in (0, 1):
        key, _ = run_in(entries, "ensemble", seed)
        sealed(entries, key, lambda run: run["tags"].update(label=HOSTILE, dataset_source="./evil.py"))  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def site(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of an archive in which something was forged, and of the home after it."""
    folder = tmp_path_factory.mktemp("site")
    theirs = rewrite(Path(shutil.copy(made / "ours.zip", folder / "theirs.zip")), forged)
    (folder / "evil.py").write_text("open('ran', 'w')\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = call("publish", str(theirs), str(made / "home"), "--output", "site", "--baseline", "joint")
        again = call("publish", str(theirs), str(made / "home"), "--output", "again", "--baseline", "joint")
    assert done.stdout == again.stdout.replace("again/", "site/")
    assert "left out: theirs.zip: joint [" in done.stderr
    assert "test/accuracy is 0.99 on record and" in done.stderr
    assert "left out: theirs.zip: mcr on synthetic, seed 1" in done.stderr
    assert "its tag 'label' is 'mcr', and by its method and settings joint [" in done.stderr
    assert not (folder / "ran").exists()
    return folder


def test_there_is_a_page_for_each_dataset_and_protocol_and_the_same_runs_give_the_same_bytes(site: Path) -> None:
    names = sorted(path.name for path in (site / "site").glob("*.html"))
    assert names == [PAGE, "index.html"]
    assert all((site / "site" / name).read_bytes() == (site / "again" / name).read_bytes() for name in names)


def test_the_index_says_where_runs_are_from_and_leads_to_the_boards(site: Path) -> None:
    page = Parsed((site / "site/index.html").read_text())
    assert f"{PAGE}#c0" in page.targets
    assert "6 runs" in page.text
    assert "2 runs, 6 more that an earlier one has too" in page.text  # the two that were forged in the archive
    assert "test/accuracy is 0.99 on record" in page.text


def test_a_board_has_the_provenance_of_every_number(site: Path) -> None:
    page = Parsed((site / "site" / PAGE).read_text())
    assert page.text.count(COMPUTED) == 8
    for column in ("verdict", "95 % low", "optimiser", "tuning", "from", "predictions"):
        assert column in page.text
    assert all(target[1:] in page.ids for target in page.targets if target.startswith("#"))


def test_names_are_text_and_nothing_is_loaded(site: Path) -> None:
    for file in (site / "site").glob("*.html"):
        page = Parsed(file.read_text())
        assert len(page.of("script")) == 1
        assert [
            one
            for _, a in page.elements
            for name in ("src", "href")
            if (one := a.get(name, "") or "").startswith(("http", "//"))
        ] == []
        assert [a for _, a in page.elements if any(name.startswith("on") for name in a)] == []
    assert HOSTILE.replace("&amp;", "&amp;") in Parsed((site / "site" / PAGE).read_text()).text


def test_verdicts_budgets_and_sources_of_lines() -> None:
    (one,) = compared(runs(8, tags={"preset_origin": "tuned-here@20"}))
    made = claims(one, "ensemble")
    assert [verdict(made, label) for label in ("ensemble", "plus", "minus", "same", "nobody")] == [
        *("baseline", "better", "worse", "not separated", "not tested"),
    ]
    sources = {row.run_id: Source("theirs.zip", COMPUTED, "") for row in one.rows}
    table = board_table(one, made, "ensemble", sources)
    best = dict(zip(table.columns, table.rows[1], strict=True))
    assert (best["method"], best["verdict"], best["tuning"], best["from"]) == (
        "plus",
        "better",
        "20 trials",
        "theirs.zip",
    )
    assert best["optimiser"] == "adam, lr 0.1"
    assert best["difference (points)"] == pytest.approx(2.05)
    assert best["95 % low"] < 2.05 < best["high"]
    without = board_table(one, "no run of it", "ensemble", sources)
    assert "verdict" not in without.columns
    assert "no bold type: no run of it" in without.notes


def test_a_budget_that_is_unknown_is_said() -> None:
    assert tuning_of(row("plus", 0, 0.5)) == "none (paper)"
    assert optimiser_of(row("plus", 0, 0.5, params={"optimizer.lr": "0.5"})) == "adam, lr 0.5"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if not (BROWSER and DRIVER):
        pytest.skip("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_in_a_browser_no_page_scrolls_sideways_or_complains_and_heads_sort(site: Path, browser: Any) -> None:
    for name in ("index.html", PAGE):
        for width, scheme in ((1280, "light"), (390, "dark")):
            size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            browser.get((site / "site" / name).as_uri())
            browser.execute_script("document.querySelectorAll('details').forEach(part => part.open = true)")
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            loaded = browser.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
            assert [one for one in loaded if not one.startswith("data:")] == []
    assert browser.get_log("browser") == []
    head = browser.find_element("css selector", "#c0 > .scroll thead th:nth-child(2)")
    browser.execute_script("arguments[0].querySelector('button').click()", head)
    cells = browser.find_elements("css selector", "#c0 > .scroll tbody td:nth-child(2)")
    values = [float(cell.text) for cell in cells]
    assert (head.get_attribute("aria-sort"), values) == ("ascending", sorted(values))
