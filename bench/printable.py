"""Text that comes from files, made safe for a terminal: control characters are shown as what they are, not obeyed.

File names, ids, class names, keys and list lines may hold anything: sequences that move the cursor or recolour what
stands above, bells, carriage returns that overwrite a line, marks that turn the direction of reading around, halves of
surrogate pairs that cannot be written at all. `say` and `SafeConsole`, through which all output goes, call this.
"""

import re

CONTROL = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and line feed, delete, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction of reading
    "\u2028\u2029\ufeff\ud800-\udfff\U000e0000-\U000e007f"  # separators, byte order mark, surrogates, tags
)
_HIDDEN, _BREAKING = re.compile(f"[{CONTROL}]"), re.compile(f"[{CONTROL}\t\n]")


def printable(text: str) -> str:
    r"""The text with control characters as escapes, those of JSON: ESC is \u001b. Tabs and line feeds stay.

    >>> printable("a\x1b[31mb")
    'a\\u001b[31mb'
    """
    return _HIDDEN.sub(_escape, text)


def in_line(text: str) -> str:
    """The same for a name or reason that has its place in one line: tabs and line feeds are escaped, too."""
    return _BREAKING.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return "".join(f"\\u{unit:04x}" for unit in _units(found.group()))


def _units(sign: str) -> list[int]:
    """The UTF-16 units of one sign, as JSON writes it."""
    code = ord(sign)
    return [code] if code < 0x10000 else [0xD800 + (code - 0x10000 >> 10), 0xDC00 + (code & 0x3FF)]
