"""The raw folder of UPMC Food-101: pictures in folders of their classes, one of three texts of each, and the parts."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.datasets.cache.recipe import Clip, Scan
from mcr_bench.datasets.media.pictures import PICTURES
from mcr_bench.datasets.raw.held_out import train_and_validation
from mcr_bench.datasets.raw.lists import by_lower_name, list_files, read_lists
from mcr_bench.datasets.raw.raw_files import as_lines
from mcr_bench.datasets.raw.texts.sources import (
    FEATURES,
    LIST,
    LISTS,
    OWN,
    PICTURE,
    readable_text,
    require_all_lists,
    rows_of,
    titles_of,
)
from mcr_bench.datasets.raw.texts.words import vocabulary, vocabulary_list
from mcr_bench.datasets.sequences.pickles import listed, read_parts

PICTURES_IN, TITLES_IN = "images", "texts"
TITLES = {"train": "train_titles.csv", "test": "test_titles.csv"}
FOLDERS = {"page": "texts_txt", "recipe": "texts_recipe"}  # of texts with a file for each picture
OFFICIAL = "official.json"
AGAIN = "Use pictures, texts and lists of one download."
LAYOUT = (
    "SOURCE/\n"
    "  images/train/CLASS/CLASS_N.jpg, images/test/CLASS/CLASS_N.jpg\n"
    "  texts/train_titles.csv, texts/test_titles.csv   dataset.variant=title: picture,title,class, without a header\n"
    "  texts_txt/CLASS/CLASS_N.txt                     dataset.variant=page: the text of the page\n"
    "  texts_recipe/CLASS/CLASS_N.txt                  dataset.variant=recipe: the text of the recipe\n"
    "  train.jsonl, dev.jsonl, test.jsonl              optional, in MMBT's form: id, label, text, img in each line\n"
    "  features/CLASS/CLASS_N.npy                      with dataset.text=files: (steps, channels) or (channels,)"
)
CLASSES = (
    *("apple_pie", "baby_back_ribs", "baklava", "beef_carpaccio", "beef_tartare", "beet_salad", "beignets"),
    *("bibimbap", "bread_pudding", "breakfast_burrito", "bruschetta", "caesar_salad", "cannoli", "caprese_salad"),
    *("carrot_cake", "ceviche", "cheese_plate", "cheesecake", "chicken_curry", "chicken_quesadilla", "chicken_wings"),
    *("chocolate_cake", "chocolate_mousse", "churros", "clam_chowder", "club_sandwich", "crab_cakes", "creme_brulee"),
    *("croque_madame", "cup_cakes", "deviled_eggs", "donuts", "dumplings", "edamame", "eggs_benedict", "escargots"),
    *("falafel", "filet_mignon", "fish_and_chips", "foie_gras", "french_fries", "french_onion_soup", "french_toast"),
    *("fried_calamari", "fried_rice", "frozen_yogurt", "garlic_bread", "gnocchi", "greek_salad"),
    *("grilled_cheese_sandwich", "grilled_salmon", "guacamole", "gyoza", "hamburger", "hot_and_sour_soup", "hot_dog"),
    *("huevos_rancheros", "hummus", "ice_cream", "lasagna", "lobster_bisque", "lobster_roll_sandwich"),
    *("macaroni_and_cheese", "macarons", "miso_soup", "mussels", "nachos", "omelette", "onion_rings", "oysters"),
    *("pad_thai", "paella", "pancakes", "panna_cotta", "peking_duck", "pho", "pizza", "pork_chop", "poutine"),
    *("prime_rib", "pulled_pork_sandwich", "ramen", "ravioli", "red_velvet_cake", "risotto", "samosa", "sashimi"),
    *("scallops", "seaweed_salad", "shrimp_and_grits", "spaghetti_bolognese", "spaghetti_carbonara", "spring_rolls"),
    *("steak", "strawberry_shortcake", "sushi", "tacos", "takoyaki", "tiramisu", "tuna_tartare", "waffles"),
)


def scan(source: Path, splits: Sequence[Path], variant: str, text: str) -> Scan:
    """The pictures that have a text, in the order of ids, and their vocabularies; UserError for another folder.

    variant: which text of a picture: title, page or recipe. text: words, model or files.
    """
    pictures = dict(_pictures(source))
    if not pictures:
        raise UserError(f"'{source}' has no picture in {PICTURES_IN}/train/CLASS. Expected:\n{LAYOUT}")
    scan = Scan([], lists=_lists(source, splits))
    texts = _features(source) if text == "files" else _texts(source, variant, pictures)
    for id_, (part, label, path) in sorted(pictures.items()):
        if id_ in texts:
            role, file = texts[id_]
            scan.clips.append(Clip(id_, CLASSES.index(label), id_, {PICTURE: path, role: file}))
        else:
            scan.problems.append((id_, f"no {'features' if text == 'files' else variant} of this picture in {part}"))
    if not scan.clips:
        raise UserError(
            f"'{source}' has no {variant} of its pictures.{as_lines(scan.problems[:3])}\nExpected:\n{LAYOUT}"
        )
    _add_lists(scan, {clip.id: pictures[clip.id][0] for clip in scan.clips}, variant, text == "words")
    return scan


def listed_pictures(source: Path, splits: Sequence[Path]) -> Scan:
    """Every picture of the lists in MMBT's form and of the lists of titles, as if its files were available.

    UserError if a folder has neither, or if the two say different things of a picture.
    """
    lists = _lists(source, splits)
    titles, mmbt = _listed_titles(source), _entries(lists)
    if not titles and not mmbt:
        raise UserError(f"'{source}' has no {', no '.join((*LISTS, *TITLES.values()))}. Expected:\n{LAYOUT}")
    for id_ in sorted(titles.keys() & mmbt.keys()):
        if titles[id_][1] != mmbt[id_][1]:
            raise UserError(f"{id_} is {mmbt[id_][1]} in a list and {titles[id_][1]} in another. {AGAIN}")
    labels = {id_: CLASSES.index(label) for id_, (_, label) in {**mmbt, **titles}.items()}
    if titles:
        lists[OFFICIAL] = listed(_official({id_: part for id_, (part, _) in titles.items()}, labels))
    return Scan([Clip(id_, labels[id_], id_, {}) for id_ in sorted(labels)], lists=lists)


def mmbt_parts(lists: Mapping[str, bytes]) -> dict[str, str]:
    """Id -> train, val or test, of the lists in MMBT's form; empty without them; UserError for one in two parts."""
    return {id_: part for id_, (part, _) in _entries(lists).items()}


def official_parts(lists: Mapping[str, bytes]) -> dict[str, str]:
    """Id -> train, val or test, of the folders of pictures or the lists of titles; empty with MMBT's lists alone."""
    return read_parts(lists[OFFICIAL]) if OFFICIAL in lists else {}


def _pictures(source: Path) -> Iterator[tuple[str, tuple[str, str, Path]]]:
    """Id, and part, class and file, of every picture; UserError for an unknown class and for two of one name."""
    seen: dict[str, Path] = {}
    root = by_lower_name(source).get(PICTURES_IN, source / PICTURES_IN)
    for part in TITLES:
        place = by_lower_name(root).get(part, root / part)
        for folder in sorted(path for path in _inside(place) if path.is_dir()):
            if folder.name not in CLASSES:
                raise UserError(f"'{folder}': {unknown('class of UPMC Food-101', folder.name, CLASSES)} {AGAIN}")
            for path in sorted(_inside(folder)):
                if path.suffix.lower() not in PICTURES:
                    continue
                if path.stem in seen:
                    raise UserError(f"'{seen[path.stem]}' and '{path}' have one name. Keep one of them.")
                seen[path.stem] = path
                yield path.stem, (part, folder.name, path)


def _inside(folder: Path) -> list[Path]:
    """What a folder holds, without hidden files and folders."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []


def _lists(source: Path, splits: Sequence[Path]) -> dict[str, bytes]:
    """The lists in MMBT's form; UserError if some of the three are missing."""
    files = list_files(source, LISTS, splits)
    require_all_lists(source, files)
    return read_lists(files)


def _features(source: Path) -> dict[str, tuple[str, Path]]:
    """Id -> role and file of given features."""
    return {path.stem: (FEATURES, path) for path in sorted((source / FEATURES).glob("*/*.npy"))}


def _texts(source: Path, variant: str, pictures: Mapping[str, tuple[str, str, Path]]) -> dict[str, tuple[str, Path]]:
    """Id -> role and file of the text of a picture; UserError without any."""
    if variant == "title":
        return _titles(source, pictures)
    folder = by_lower_name(source).get(FOLDERS[variant], source / FOLDERS[variant])
    if not folder.is_dir():
        raise UserError(f"'{source}' has no {FOLDERS[variant]}/, where each {variant} is. Expected:\n{LAYOUT}")
    texts: dict[str, tuple[str, Path]] = {}
    for path in (path for inner in sorted(_inside(folder)) for path in sorted(_inside(inner))):
        if path.suffix.lower() != ".txt":
            continue
        if path.stem in texts:
            raise UserError(f"'{texts[path.stem][1]}' and '{path}' are the text of one picture. Keep one of them.")
        if path.stem in pictures and pictures[path.stem][1] != path.parent.name:
            raise UserError(
                f"'{path}' is a text of {path.parent.name}, its picture '{pictures[path.stem][2]}'. {AGAIN}"
            )
        texts[path.stem] = OWN, path
    return texts


def _entries(lists: Mapping[str, bytes]) -> dict[str, tuple[str, str]]:
    """Id -> part and class, of the lists in MMBT's form; UserError for an unknown class and for an id of two lines."""
    entries: dict[str, tuple[str, str]] = {}
    for name, part in LISTS.items():
        for number, row in rows_of(name, lists.get(name, b""), ("img", "label")):
            _add(entries, f"{name}, line {number}", str(row["img"]), (part, str(row["label"])))
    return entries


def _listed_titles(source: Path) -> dict[str, tuple[str, str]]:
    """Id -> part, train or test, and class, of both lists of titles; empty without them; UserError for one alone."""
    places = by_lower_name(source) | by_lower_name(by_lower_name(source).get(TITLES_IN, source / TITLES_IN))
    missing = [name for name in TITLES.values() if name not in places]
    if missing:
        if len(missing) < len(TITLES):
            raise UserError(f"'{source}' has no {missing[0]} beside the other list of titles. Add it, or take it out.")
        return {}
    entries: dict[str, tuple[str, str]] = {}
    for part, name in TITLES.items():
        for number, (picture, _, label) in enumerate(titles_of(name, read_lists({name: places[name]})[name]), 1):
            _add(entries, f"{name}, picture {number}", picture, (part, label))
    return entries


def _add(entries: dict[str, tuple[str, str]], place: str, picture: str, entry: tuple[str, str]) -> None:
    id_, label = Path(picture).stem, entry[1]
    if label not in CLASSES:
        raise UserError(f"{place}: {unknown('class of UPMC Food-101', label, CLASSES)} {AGAIN}")
    if id_ in entries:
        raise UserError(f"{place}: {id_} is already in {entries[id_][0]}. {AGAIN}")
    entries[id_] = entry


def _official(part_of: Mapping[str, str], labels: Mapping[str, int]) -> dict[str, str]:
    """Id -> train, val or test, of pictures in train and test: a tenth of each class of train validates."""
    held = train_and_validation({id_: labels[id_] for id_, part in part_of.items() if part == "train"})
    return {id_: held.get(id_, part) for id_, part in part_of.items()}


def _titles(source: Path, pictures: Mapping[str, tuple[str, str, Path]]) -> dict[str, tuple[str, Path]]:
    """Id -> role and list of the title of a picture; UserError for a title of another class or part."""
    places = by_lower_name(by_lower_name(source).get(TITLES_IN, source / TITLES_IN))
    if missing := [f"{TITLES_IN}/{name}" for name in TITLES.values() if name not in places]:
        raise UserError(f"'{source}' has no {' and no '.join(missing)}, where titles are. Expected:\n{LAYOUT}")
    titles: dict[str, tuple[str, Path]] = {}
    for part, name in TITLES.items():
        for picture, _, label in titles_of(name, read_lists({name: places[name]})[name]):
            id_ = Path(picture).stem
            if id_ in pictures and pictures[id_][:2] != (part, label):
                raise UserError(
                    f"{name} has {picture} in {part} as '{label}', but the picture is in {pictures[id_][0]} as "
                    f"'{pictures[id_][1]}'. {AGAIN}"
                )
            if id_ in titles:
                raise UserError(f"{name}: {picture} has a title already. Keep one of the lines.")
            titles[id_] = (LIST, places[name])
    return titles


def _add_lists(scan: Scan, part_of: Mapping[str, str], variant: str, words: bool) -> None:
    """Add the official parts and, if texts are words, the vocabulary of each protocol's training part to the lists."""
    if "train" not in part_of.values():
        raise UserError(f"No picture with its text is in {PICTURES_IN}/train/CLASS. Expected:\n{LAYOUT}")
    official = _official(part_of, {clip.id: int(clip.label) for clip in scan.clips})
    mmbt = mmbt_parts(scan.lists)
    scan.lists[OFFICIAL] = listed(official)
    if not words:
        return
    trained = {"official": official, **({"mmbt": mmbt} if mmbt else {})}
    texts = {clip.id: readable_text(clip) for clip in scan.clips}
    for name, parts in trained.items():
        of_train = (texts[id_] for id_ in sorted(texts) if parts.get(id_) == "train")
        scan.lists[vocabulary_list(f"{name}-{variant}")] = vocabulary(of_train)
