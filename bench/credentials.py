"""The credentials in addresses of servers and databases that a user gives: what is masked wherever it would be shown.

An address may be written wrongly, and libraries quote it whole or in parts. What looks like a password is one.
"""

import json
import os
import re
from urllib.parse import quote, unquote

# The names of variables that hold credentials, and those that hold an address with credentials.
_NAMES = re.compile(
    r"(PASSWORD|PASSWD|_PWD|TOKEN|SECRET|SECRET_KEY|ACCESS_KEY|API_KEY)$", re.IGNORECASE
)  # PWD: a folder
_ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI")
_LEAST = 4  # characters of a secret that is looked for by itself; a shorter one would be part of too many words
_LEAST_DIGITS = 6  # and of one of digits alone; ports have five
_LEAST_TOKEN = 16  # characters of a user without a password that is a token
_FILE = re.compile(r"(sqlite(\+\w+)?:///|file:)", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][\w+.-]*:[/\\]+|[/\\]+)")
_FIELD = re.compile(r"[?&;#]([^=?&;#]*)=([^&;#]*)")
_SECRET = re.compile(r"pass|pwd|secret|token|key|sig|auth|cred|jwt|code|session|connect", re.IGNORECASE)
_REQUESTS = "!#$%&'()*+,/:;=?@[]~"  # what requests leaves as it is

_given: set[str] = set()


def conceal(address: str | None) -> str | None:
    """The address itself, whose credentials are masked from now on wherever texts are masked."""
    _given.update(secrets_of(address or ""))
    return address


def known_secrets() -> list[str]:
    """What nobody else should read of the addresses that were given and of the environment, the longest first."""
    secrets = {value for name, value in os.environ.items() if _NAMES.search(name) and len(value) >= _LEAST}
    for name in _ADDRESSES:
        secrets |= secrets_of(os.environ.get(name, ""))
    return sorted(secrets | _given, key=len, reverse=True)


def secrets_of(address: str) -> set[str]:
    """The credentials of an address, also in the forms in which programs quote them.

    >>> sorted(secrets_of("http://ann:s3cret@host/?auth=abcd&page=2"))
    ['abcd', 'ann%3As3cret@', 'ann:s3cret@', 's3cret']
    """
    secrets = {value for name, value in _FIELD.findall(address) if _SECRET.search(name)}
    user, at, _ = _SCHEME.sub("", address, count=1).rpartition("@")
    if not at or _FILE.match(address):
        return _forms(secrets)
    name, colon, password = user.partition(":")
    if colon and password != name:  # mlflow:mlflow@ would mask the name of a library
        # Where libraries see the end of the host at another place, they quote a part of it.
        secrets |= {password, *re.split(r"[/\\?#@:]", password)}
    elif len(name) >= _LEAST_TOKEN and not colon:
        secrets.add(name)
    return _forms(secrets) | {f"{form}@" for form in _forms({user})}


def _forms(secrets: set[str]) -> set[str]:
    """Secrets as they were given, and with and without the escapes of addresses, of Python and of JSON."""
    plain = secrets | {unquote(one) for one in secrets}
    forms = plain | {quote(one, safe=safe, errors="replace") for one in plain for safe in ("", _REQUESTS)}
    forms |= {form for one in plain for form in (repr(one)[1:-1], json.dumps(one)[1:-1])}
    return {form for form in forms if len(form) >= (_LEAST_DIGITS if form.isdigit() else _LEAST)}
