"""Shorten names that are too long, and keep the part in which they differ from the other names."""

from collections.abc import Collection, Iterable, Sequence

GAP = "…"
BOUNDARIES = " [(,_-"  # where a part of a name begins


def cut(text: str, others: Collection[str], longest: int, gap: str = GAP) -> str:
    """`text` with at most `longest` characters; `gap` replaces what is left out.

    The beginning is kept, and the place where the most similar one of `others` first differs.

    >>> cut("mcr [mcr.strategy=greedy]", ["mcr [mcr.strategy=independent]"], 16)
    'mcr [m…y=greedy]'
    """
    if len(text) <= longest:
        return text
    same = max((_shared(text, other) for other in others if other != text), default=0)
    if same < longest * 3 // 4:
        return text[: longest - len(gap)].rstrip() + gap
    room = longest - longest * 2 // 5 - len(gap)
    start = _part(text, same, room // 2)
    rest = text[start:] if len(text) - start <= room else text[start : start + room - len(gap)].rstrip() + gap
    head = longest - len(gap) - len(rest)
    return text[:head].rstrip() + gap + rest


def cut_all(names: Sequence[str], longest: int, gap: str = GAP) -> list[str]:
    """Every name shortened. Names that are then equal, apart from upper and lower case, get numbers.

    >>> cut_all(["a long name", "A LONG NAME"], 7)
    ['a long…', 'A LONG…-2']
    """
    shortened: list[str] = []
    taken: set[str] = set()
    for name in names:
        text, count = cut(name, names, longest, gap), 1
        stem = text
        while text.casefold() in taken:
            count += 1
            text = f"{stem}-{count}"
        taken.add(text.casefold())
        shortened.append(text)
    return shortened


def own_parts(labels: Iterable[str], longest: int) -> dict[str, str]:
    """Label `NAME [KEY=VALUE ...]` -> a shorter text if it is longer than `longest`.

    Settings that all labels with the same name share are left out, which … marks. If that is not enough, only the last
    parts of dotted keys are kept.
    """
    known = list(dict.fromkeys(labels))
    settings = {label: _settings(label) for label in known}
    parts = {}
    for label in known:
        peers = [set(own) for other, own in settings.items() if own and other != label and _name(other) == _name(label)]
        parts[label] = label if len(label) <= longest else _brief(label, settings[label], peers, longest)
    return parts


def _brief(label: str, settings: Sequence[str], peers: Sequence[set[str]], longest: int) -> str:
    own = [text for text in settings if not all(text in peer for peer in peers)] if peers else []
    if not own:
        return label
    more = [GAP] if len(own) < len(settings) else []
    text = f"{_name(label)} [{' '.join([*more, *own])}]"
    return text if len(text) <= longest else f"{_name(label)} [{' '.join([*more, *map(_plain_key, own)])}]"


def _name(label: str) -> str:
    return label.partition(" [")[0]


def _settings(label: str) -> list[str]:
    return label.partition(" [")[2].removesuffix("]").split()


def _plain_key(setting: str) -> str:
    key, equals, value = setting.partition("=")
    return key.rpartition(".")[2] + equals + value


def _part(text: str, place: int, back: int) -> int:
    """The start of the part of the text that contains `place`, at most `back` characters before it."""
    begins = [i + 1 for i in range(max(0, place - back), place) if text[i] in BOUNDARIES]
    return begins[-1] if begins else max(0, place - back // 2)


def _shared(text: str, other: str) -> int:
    """The number of characters at the beginning that are equal."""
    return next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
