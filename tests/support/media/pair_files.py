"""Small complete copies of MVSA-Single and UPMC Food-101 in their official layouts: JPEG pictures, texts, lists."""

import json
from pathlib import Path

import cv2

from mcr_bench.tests.support.media.media_files import picture

WORDS = ("rain", "sun", "coffee", "traffic", "friends", "monday", "music", "storm")
MOODS = ("negative", "neutral", "positive")
PAIRS = 30  # 1 to 18 train, 19 to 24 dev, 25 to 30 test; 31 and 32 contradict themselves, 33 to 36 are in no list
DISHES = ("apple_pie", "ramen", "tacos")


def draw(path: Path, seed: int) -> None:
    """A JPEG of 40 x 30 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(picture(0, 40, 30, seed), cv2.COLOR_RGB2BGR))


def tweet(number: int) -> str:
    """A text of some words that follow the number, one word of its own, and a link."""
    words = [WORDS[(number + 3 * k) % len(WORDS)] for k in range(3)]
    return f"RT @someone: {words[0]} & {words[1]}, {words[2].upper()}! only{number} http://t.co/x{number}"


def mood(number: int) -> str:
    return MOODS[number % 3]


def mvsa_labels(number: int) -> str:
    """The two labels of a pair: those of listed pairs agree, 31 and 32 contradict themselves, others are merged."""
    if number <= PAIRS:
        return f"{mood(number)},{mood(number)}"
    return "positive,negative" if number <= PAIRS + 2 else f"neutral,{mood(number)}"


def mvsa_lists(folder: Path) -> None:
    """train.jsonl, dev.jsonl, test.jsonl."""
    for name, numbers in (("train", range(1, 19)), ("dev", range(19, 25)), ("test", range(25, 31))):
        rows = [{"id": str(n), "label": mood(n), "text": tweet(n), "img": f"data/{n}.jpg"} for n in numbers]
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def mvsa(folder: Path) -> Path:
    """36 pairs in the official layout."""
    for n in range(1, PAIRS + 7):
        draw(folder / f"data/{n}.jpg", n)
        (folder / f"data/{n}.txt").write_text(tweet(n), encoding="utf-8")
    rows = "".join(f"{n}\t{mvsa_labels(n)}\n" for n in range(1, PAIRS + 7))
    (folder / "labelResultAll.txt").write_text(f"ID\ttext,image\n{rows}")
    mvsa_lists(folder)
    return folder


def dish(number: int) -> str:
    return DISHES[number % 3]


def food_part(number: int) -> str:
    return "train" if number < 24 else "test"


def food(folder: Path) -> Path:
    """36 pictures of 3 dishes, 24 of them to train on, with titles, pages, recipes and lists in MMBT's form."""
    titles: dict[str, list[str]] = {"train": [], "test": []}
    lists: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    for n in range(36):
        id_, part = f"{dish(n)}_{n}", food_part(n)
        draw(folder / f"images/{part}/{dish(n)}/{id_}.jpg", n)
        titles[part].append(f'{id_}.jpg,"{dish(n)}, with {WORDS[n % 8]}",{dish(n)}\n')
        for of, kind in (("texts_txt", "page"), ("texts_recipe", "recipe")):
            (folder / of / dish(n)).mkdir(parents=True, exist_ok=True)
            (folder / of / dish(n) / f"{id_}.txt").write_text(f"The {kind} of {WORDS[n % 8]} {dish(n)}\n")
        row = {"id": f"{dish(n)}_{id_}.jpg", "label": dish(n), "text": "x", "img": f"images/{part}/{dish(n)}/{id_}.jpg"}
        lists["dev" if 18 <= n < 24 else part].append(f"{json.dumps(row)}\n")
    (folder / "texts").mkdir()
    for part, rows in titles.items():
        (folder / f"texts/{part}_titles.csv").write_text("".join(rows))
    for name, rows in lists.items():
        (folder / f"{name}.jsonl").write_text("".join(rows))
    return folder
