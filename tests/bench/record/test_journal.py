"""The journal of an outbox, after a kill and after damage, and what is said of it."""

from pathlib import Path

import pytest

from mcr_bench.bench.record.outbox import journal
from mcr_bench.bench.record.outbox.entries import KILLED, Ending, Entry, Opening
from mcr_bench.bench.record.outbox.outbox import Line, Outbox
from mcr_bench.bench.record.remote_writing import ADDRESS, RemoteWriting
from mcr_bench.bench.runs.events import EpochDone

OPENING = Opening("k1", "toy", "a run", {}, {}, False, 1.0, "attempt")
EPOCHS: list[Entry] = [EpochDone("k1", number, 5, {"loss": 1.0}, float(number)) for number in (1, 2)]
ENDING = Ending(KILLED, 9.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for entry in [OPENING, *EPOCHS]:
        journal.append(tmp_path / "000001-k1-attempt.jsonl", entry, safe=False)
    return tmp_path / "000001-k1-attempt.jsonl"


@pytest.mark.parametrize(("cut", "whole"), [(0, 2), (1, 2), (2, 1), (30, 1)])
def test_an_entry_after_a_kill_is_not_glued_to_what_the_kill_has_left(path: Path, cut: int, whole: int) -> None:
    path.write_bytes(path.read_bytes()[: -cut or None])
    left = [OPENING, *EPOCHS[:whole]]
    assert journal.read(path) == left
    for added in ([ENDING], [ENDING, ENDING]):
        journal.append(path, ENDING, safe=True)
        assert journal.read(path) == [*left, *added]


def test_a_journal_of_which_a_kill_has_left_a_part_of_the_first_line_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"0123 {")
    assert journal.read(path) == []
    journal.append(path, OPENING, safe=False)
    assert journal.read(path) == [OPENING]


def test_a_wrong_line_before_others_is_damage(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"loss"', b'"lass"', 1))
    with pytest.raises(journal.Damaged, match="a checksum is wrong"):
        journal.read(path)


def test_damage_and_an_outage_are_told_in_sentences_of_their_own(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"loss"', b'"lass"', 1))
    outbox = Outbox(path.parent, Line("The server", None, lambda: None, bool, str), 1.0)  # type: ignore[arg-type]
    assert outbox.collect() == 0
    outbox._note("pulse", "connection refused")
    damage, outage = outbox.news()
    outbox.stop()
    aside = path.with_suffix(".aside")
    assert aside.exists()
    assert damage == (
        f"What a run had to tell the tracking server cannot be delivered: {path} is damaged: a checksum is wrong. It "
        f"is set aside as {aside}; the run is trained again."
    )
    assert outage.startswith("The server does not answer: connection refused. Training goes on;")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"http://h\xf1st:5000", "http://h\ufffdst:5000"),
        (None, "an address that cannot be read (No such file or directory)"),
    ],
)
def test_what_waits_for_another_server_is_told_whatever_its_address(
    content: bytes | None, said: str, tmp_path: Path
) -> None:
    folder, notes = tmp_path / "outbox" / "another", list[str]()
    folder.mkdir(parents=True)
    journal.append(folder / "000001-k1-attempt.jsonl", OPENING, safe=False)
    if content is not None:
        (folder / ADDRESS).write_bytes(content)
    RemoteWriting("http://host:5000", tmp_path, notes.append, 1.0)._tell_of_others()
    (note,) = notes
    assert note == f"Still waiting for the record at {said}: 1 run in {folder}."
