"""Make text that comes from files safe to print: a terminal shows its control characters and does not obey them.

File names, ids, class names, keys and lines of lists may hold anything: sequences that move the cursor or change the
colours of earlier lines, bells, carriage returns that overwrite a line, marks that reverse the direction of reading,
halves of surrogate pairs that cannot be encoded. `say` and `SafeConsole`, which print everything, call this module.
"""

import re

CONTROL = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 except tab and line feed, delete, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction of reading
    "\u2028\u2029\ufeff\ud800-\udfff\U000e0000-\U000e007f"  # separators, byte order mark, surrogates, tags
)
_HIDDEN, _BREAKING = re.compile(f"[{CONTROL}]"), re.compile(f"[{CONTROL}\t\n]")


def printable(text: str) -> str:
    r"""`text` with every control character written as JSON's escape, such as \u001b for ESC.

    Tabs and line feeds stay as they are.

    >>> printable("a\x1b[31mb")
    'a\\u001b[31mb'
    """
    return _HIDDEN.sub(_escape, text)


def in_line(text: str) -> str:
    r"""As `printable`, for text that must stay on one line: tabs and line feeds are escaped too.

    >>> in_line("two\nlines")
    'two\\u000alines'
    """
    return _BREAKING.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return "".join(f"\\u{unit:04x}" for unit in _units(match.group()))


def _units(character: str) -> list[int]:
    """The UTF-16 code units of one character, as JSON writes it."""
    code = ord(character)
    return [code] if code < 0x10000 else [0xD800 + (code - 0x10000 >> 10), 0xDC00 + (code & 0x3FF)]
