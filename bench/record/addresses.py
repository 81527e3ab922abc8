"""Which addresses a store can have: one that cannot be used ends in a sentence, before anything is written."""

import re
from dataclasses import dataclass
from importlib.metadata import entry_points
from urllib.parse import urlsplit

from mcr_bench.bench.core.home import require_text, shown
from mcr_bench.bench.credentials import conceal
from mcr_bench.bench.errors import UserError, quoted

SCHEME = re.compile(r"([A-Za-z][\w+.-]*)://")
# Of an address `sqlite:///a%20b/x.db`, MLflow makes the folder `a%20b` before the file in `a b` is opened. Of one that
# names SQLAlchemy's driver too it makes none.
PLAIN, ESCAPED = "sqlite:///", "sqlite+pysqlite:///"
SERVERS, DATABASES = ("http", "https"), ("postgresql", "mysql", "mssql")
OTHERS = re.compile(r"databricks.*|uc:.*", re.DOTALL)
PLUGINS = "mlflow.tracking_store"  # the entry points of packages that bring a store of their own to MLflow
# What `pip install` calls modules of another name.
PACKAGES = {"psycopg2": "'mcr-bench[postgresql]'", "psycopg": "'psycopg[binary]'", "MySQLdb": "mysqlclient"}


@dataclass(frozen=True)
class Use:
    """What an address is given for.

    name: how messages call it.
    allowed: which addresses it may be, as the remedy.
    """

    name: str
    allowed: str

    def wrong(self, given: str, why: str) -> UserError:
        """The error for an address, without its credentials. why: what is wrong, and the remedy."""
        return UserError(f"{self.name} '{shown(given)}' {why}")


TRACKING = Use(
    "the tracking URI",
    "Give sqlite:///FILE for a file, http://HOST:PORT for a tracking server, or postgresql://HOST/NAME for a database; "
    "MLflow keeps none in folders.",
)


def required_address(given: str, use: Use) -> str:
    """The address itself, with its scheme in small letters; UserError where no store can have it."""
    conceal(given)
    uri = require_text(given, use.name)
    if scheme := SCHEME.match(uri):
        uri = f"{scheme[1].lower()}{uri[scheme.end(1) :]}"
    if why := _fault(uri):
        raise use.wrong(given, f"cannot be used: {why}. {use.allowed}")
    if _kind(uri) in DATABASES:
        _require_driver(uri, use)
    return uri


def _fault(uri: str) -> str:
    """What is wrong with the form of an address; "" for one that may name a store."""
    kind = _kind(uri)
    if kind in SERVERS:
        return "" if _has_host(uri) else "its host or port cannot be read"
    if kind == "sqlite":
        return "" if uri.startswith((PLAIN, ESCAPED)) else "it names no file"
    if OTHERS.fullmatch(uri) or kind in DATABASES or kind in {point.name for point in entry_points(group=PLUGINS)}:
        return ""
    return f"no store has an address that begins with {kind}://" if kind else "it begins with no scheme of a store"


def _kind(uri: str) -> str:
    """The scheme of an address without the driver of a database; "" where it has none."""
    scheme = SCHEME.match(uri)
    return scheme[1].partition("+")[0] if scheme else ""


def _has_host(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _require_driver(uri: str, use: Use) -> None:
    """UserError where the address of a database cannot be read, or the library is missing that connects to it."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        make_url(uri).get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        package = PACKAGES.get(error.name or "", error.name)
        why = f"cannot be used: {error.name}, which it needs, is missing. Install it: pip install {package}"
        raise use.wrong(uri, why) from None
    except ImportError as error:  # of a library of the system, which it needs itself
        raise use.wrong(uri, f"cannot be used: {quoted(error)}. Install what is missing.") from None
    except NoSuchModuleError:
        raise use.wrong(uri, f"cannot be used: it names no known library. {use.allowed}") from None
    except (ArgumentError, ValueError):  # whose texts quote parts of it
        raise use.wrong(uri, f"cannot be used: its host or port cannot be read. {use.allowed}") from None
