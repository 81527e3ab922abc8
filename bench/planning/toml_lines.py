"""Where each key and list element of a TOML text stands, for errors that name a line; tomllib itself keeps none."""

import re
from collections.abc import Iterator

Place = tuple[str | int, ...]

BARE = re.compile(r"[A-Za-z0-9_-]+")
SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
PLAIN = re.compile(r"[^,\]}\n#]+")
STRING = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\]|\\.)*"|\'[^\']*\'', re.DOTALL)
ESCAPE = re.compile(r'\\(["\\])')


def key_lines(text: str) -> dict[Place, int]:
    """Path of each table, key and list element (keys, and indices from 0) -> its line, counted from 1.

    `text` is TOML that tomllib accepts: nothing is checked here. A table that is only implied stands where the first
    key that implies it does.
    """
    return _Scanner(text).scan()


class _Scanner:
    """One pass over the text; `position` is where it stands, `counts` how many tables each array of tables has."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.position = 0
        self.counts: dict[Place, int] = {}
        self.lines: dict[Place, int] = {}

    def scan(self) -> dict[Place, int]:
        table: Place = ()
        while self._next():
            if self.text[self.position] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self.lines

    def _next(self) -> str:
        """The next character that is neither space nor comment; empty at the end."""
        self._take(SPACE)
        return self.text[self.position : self.position + 1]

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.position)
        assert match is not None
        self.position = match.end()
        return match.group()

    def _note(self, place: Place) -> None:
        line = self.text.count("\n", 0, self.position) + 1
        for end in range(1, len(place) + 1):
            self.lines.setdefault(place[:end], line)

    def _header(self) -> Place:
        """`[table]` or `[[array of tables]]`."""
        many = self.text.startswith("[[", self.position)
        self.position += 1 + many
        *outer, last = self._key()
        place: Place = ()
        for part in outer:
            place = self._inside((*place, part))
        place = (*place, last)
        if many:
            self.counts[place] = self.counts.get(place, 0) + 1
            place = self._inside(place)
        self._note(place)
        self.position += 1 + many
        return place

    def _inside(self, place: Place) -> Place:
        """The place, or its newest table where it is an array of tables."""
        return (*place, self.counts[place] - 1) if place in self.counts else place

    def _key(self) -> list[str]:
        """The parts of a dotted key, up to the `=` or `]` after it."""
        parts = []
        while True:
            quoted = self._next() in "\"'"
            part = self._take(STRING if quoted else BARE)
            parts.append(ESCAPE.sub(r"\1", part[1:-1]) if quoted else part)
            if self._next() != ".":
                return parts
            self.position += 1

    def _pair(self, table: Place) -> None:
        start = self.position
        place = (*table, *self._key())
        after, self.position = self.position + 1, start
        self._note(place)
        self.position = after
        self._value(place)

    def _value(self, place: Place) -> None:
        opening = self._next()
        if opening == "[":
            for number in self._items("]"):
                self._note((*place, number))
                self._value((*place, number))
        elif opening == "{":
            for _ in self._items("}"):
                self._pair(place)
        else:
            self._take(STRING if opening in "\"'" else PLAIN)

    def _items(self, closing: str) -> Iterator[int]:
        """Stands before each item of a list or inline table in turn, then behind its closing bracket."""
        self.position += 1
        number = 0
        while self._next() != closing:
            yield number
            number += 1
            if self._next() == ",":
                self.position += 1
        self.position += 1
