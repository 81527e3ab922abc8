"""Files with bytes that were changed, cut off, left out or put in are read, or refused by a sentence."""

import random
from pathlib import Path

import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.arrays import Arrays
from mcr_bench.tests.support.inputs.array_folders import FORMS

pytestmark = pytest.mark.slow  # half a minute
TRIALS = 200


def damaged(whole: bytes, draw: random.Random) -> bytes:
    content, at = bytearray(whole), draw.randrange(len(whole))
    kind = draw.choice(("changed", "changed", "cut off", "left out", "put in"))
    if kind == "changed":
        for _ in range(draw.choice((1, 1, 3, 20))):
            content[draw.randrange(len(whole))] = draw.randrange(256)
    elif kind == "put in":
        content[at:at] = draw.randbytes(draw.randrange(40))
    else:
        del content[at : None if kind == "cut off" else at + draw.randrange(60)]
    return bytes(content)


@pytest.mark.parametrize("form", FORMS)
def test_damage_of_any_kind(form: str, tmp_path: Path) -> None:
    draw, folder, refused = random.Random(form), FORMS[form](tmp_path / "mine"), 0
    files = sorted(folder.iterdir())
    for _ in range(TRIALS):
        path = draw.choice(files)
        whole = path.read_bytes()
        path.write_bytes(damaged(whole, draw))
        try:
            Arrays(folder).fingerprint()
        except UserError:
            refused += 1
        path.write_bytes(whole)
    assert TRIALS / 2 < refused < TRIALS
