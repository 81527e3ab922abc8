"""Names of clips of web videos: the id of 11 characters, then the start and the end in seconds, if they are stated."""

import re
from typing import NamedTuple

NAME = re.compile(r"([A-Za-z0-9_-]{11})(?:_(\d{1,6})(?:_(\d{1,6}))?)?", re.ASCII)


class Name(NamedTuple):
    """What the name of a file or of a list's entry says.

    video: the id of the video.
    start: the second at which the clip starts in the video; None if it is not stated.
    """

    video: str
    start: int | None


def name_of(text: str) -> Name | None:
    """The video and the start in a name without suffix; None for any other text.

    >>> name_of("-3Mwkq-7TV4_000002_000012"), name_of("-3Mwkq-7TV4_2"), name_of("notes")
    (Name(video='-3Mwkq-7TV4', start=2), Name(video='-3Mwkq-7TV4', start=2), None)
    """
    match = NAME.fullmatch(text)
    return Name(match[1], int(match[2]) if match[2] else None) if match else None
