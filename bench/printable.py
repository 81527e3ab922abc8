"""Make text that comes from files safe to print: control characters are shown and not obeyed, credentials are masked.

File names, ids, class names, keys and lines of lists may hold anything: sequences that move the cursor or change the
colours of earlier lines, bells, carriage returns that overwrite a line, marks that reverse the direction of reading,
halves of surrogate pairs that cannot be encoded. `say` and `SafeConsole`, which print everything, call this module.
"""

import re

from mcr_bench.bench.credentials import known_secrets

CONTROL = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 except tab and line feed, delete, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction of reading
    "\u2028\u2029\ufeff\ud800-\udfff\U000e0000-\U000e007f"  # separators, byte order mark, surrogates, tags
)
_HIDDEN, _BREAKING = re.compile(f"[{CONTROL}]"), re.compile(f"[{CONTROL}\t\n]")

MASK = "***"
_QUERY = r"(?:[\w.%-]*[-_.])?(?:access|auth|api|client|session)?(?:password|passwd|pwd|secret|token|key|sig|signature)"
_FIELD = r"\b((?:password|passwd|pwd|secret|api_?key|(?:access|auth|session)_?token)(?:\s*=|\\*['\"]\s*:)\s*)"
_FIELDS = ("passw", "pwd", "secret", "apikey", "api_key", "_token", "accesstoken", "authtoken", "sessiontoken")
# Each with the words of which a text that it matches has one, in lower case: to look for these takes no time.
# Where a match may begin inside of another, it has a limit: a text of megabytes must not take hours.
_PATTERNS = (
    # ://user:password@, where the password may hold a slash, a colon or an @; ://token@
    (
        ("://",),
        re.compile(r"(?<=://)(?!\[)[^\s/?#'\"@:]{0,200}:(?!\d+(?:[/?#\s'\"]|$))[^\s'\"<>,]{0,500}@"),
        f"{MASK}@",
    ),
    (("://",), re.compile(r"(?<=://)[^\s/?#'\"<>,]{0,500}@"), f"{MASK}@"),
    (
        ("passw", "pwd=", "secret=", "token=", "key=", "sig=", "signature="),
        re.compile(rf"([?&;]{_QUERY}=)[^\s&;#'\"<>]+", re.IGNORECASE),
        rf"\g<1>{MASK}",
    ),
    (
        _FIELDS,
        re.compile(rf"{_FIELD}(\\*['\"])(?:(?!\2)[^\n]){{1,500}}\2", re.IGNORECASE),
        rf"\g<1>\g<2>{MASK}\g<2>",
    ),
    (
        _FIELDS,
        re.compile(rf"{_FIELD}(?!\\*['\"]|\*{{3}}(?:\W|$))(?:\\(?!['\"])|[^\s'\"\\,;&])+", re.IGNORECASE),
        rf"\g<1>{MASK}",
    ),
    (
        ("authorization",),
        re.compile(r"(authorization['\"]?\s*[:=]\s*['\"]?\w+) +[^\s'\",]+", re.IGNORECASE),
        rf"\g<1> {MASK}",
    ),
    (("bearer",), re.compile(r"\b(bearer) +[\w.~+/=-]{16,}", re.IGNORECASE), rf"\g<1> {MASK}"),
)


def masked(text: str) -> str:
    """`text` without the credentials of addresses, of HTTP headers and of environment variables.

    Those of the addresses that were given are masked literally, those of others by the form of an address.

    >>> masked("cannot reach https://ann:s3cret@example.org/runs?token=abc&page=2")
    'cannot reach https://***@example.org/runs?token=***&page=2'
    """
    lower = text.lower()
    known = [secret for secret in known_secrets() if secret.lower() in lower]  # hosts are quoted in lower case
    if known:
        pattern = re.compile("|".join(map(re.escape, known)), re.IGNORECASE)
        text = pattern.sub(lambda secret: f"{MASK}@" if secret[0].endswith("@") else MASK, text)
    return mask_addresses(text)


def mask_addresses(text: str) -> str:
    """As `masked`, by the form of the text alone: what looks like a credential."""
    lower = text.replace("\u0131", "i").replace("\u0130", "i").casefold()  # which IGNORECASE takes for an i
    for words, pattern, instead in _PATTERNS:
        if any(word in lower for word in words):
            text = pattern.sub(instead, text)
    return text


def printable(text: str) -> str:
    r"""`text` with every control character written as JSON's escape, such as \u001b for ESC.

    Tabs and line feeds stay as they are.

    >>> printable("a\x1b[31mb")
    'a\\u001b[31mb'
    """
    return _HIDDEN.sub(_escape, text)


def shown(text: str) -> str:
    """As `printable`, and what looks like a credential is masked."""
    return printable(mask_addresses(text))


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
