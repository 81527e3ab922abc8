"""A tracking server for several machines: MLflow's, on a database, with its files beside it."""

import ipaddress
import os
import socket
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from mcr_bench.bench.credentials import conceal
from mcr_bench.bench.errors import UserError, one_line
from mcr_bench.bench.printable import masked
from mcr_bench.bench.record.addresses import Use
from mcr_bench.bench.record.database.patience import Patience
from mcr_bench.bench.record.database.snapshot import is_busy
from mcr_bench.bench.record.store import database_file, prepare_file, store_uri
from mcr_bench.bench.serving.attached import attached
from mcr_bench.bench.serving.mlflow_server import (
    address_of,
    command_of,
    environment_of,
    free_port,
    page_of_runs,
    wait_until_up,
)

DATABASE = Use("--database", "Give sqlite:///FILE, or postgresql://HOST/NAME.")
DRIVERS = ("psycopg2", "psycopg")
HOSTS = "MLFLOW_SERVER_ALLOWED_HOSTS"


def serve(database: str | None, host: str, port: int, folder: Path, say: Callable[[str], object]) -> int:
    """Serve until Ctrl-C, and return the exit code; `say` prints the address and what clients have to set.

    database: an SQLite or PostgreSQL URI; None: an SQLite file in `folder`, where files of runs and the log lie too.
    UserError for another database, a port in use, and a server that does not start.
    """
    from sqlalchemy.exc import SQLAlchemyError

    store = store_uri(checked(database), folder, DATABASE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the folder '{folder}' cannot be made ({error.strerror}). Set MCR_BENCH_HOME to a folder that you may "
            "write to."
        ) from error
    files = folder / "artifacts"
    port = free_port(host, port, ports=1)
    address, file = address_of(host, port), database_file(store)
    if file is not None:
        locked = f"the database '{file}' is locked by another program"
        try:
            Patience(say).wait(partial(prepare_file, file, files), is_busy, locked)
        except (sqlite3.Error, SQLAlchemyError) as error:
            why = one_line(str(getattr(error, "orig", None) or error))  # without SQLAlchemy's address of a page
            raise UserError(
                f"the database '{file}' cannot be used: {why}. Give --database sqlite:///FILE with a "
                "file that is a database of MLflow, or that does not exist yet in a folder that you may write to."
            ) from error
    more = ["--workers", "1" if file is not None else "4", "--artifacts-destination", files.as_uri()]
    environment = environment_of(store) | allowed_hosts(host)
    with (
        (folder / "log.txt").open("w+b") as log,
        attached(command_of(host, port, *more), environment, log) as server,
    ):
        try:
            wait_until_up(server, address, log)
            for line in lines(address, host, port, masked(store), folder):
                say(line)
            server.wait()
        except KeyboardInterrupt:
            return 0
    return 1


def checked(database: str | None) -> str | None:
    """The URI of a database, with the driver of PostgreSQL; UserError if it is none that the server can use."""
    kind, _, rest = (conceal(database) or "sqlite").partition("://")
    name, _, driver = kind.lower().partition("+")
    if name == "sqlite":
        return database
    if name not in ("postgresql", "postgres"):
        raise DATABASE.wrong(database or "", f"is not a database that the server can use. {DATABASE.allowed}")
    driver = driver or next(filter(find_spec, DRIVERS), DRIVERS[0])  # which one is meant depends on SQLAlchemy's age
    return f"postgresql+{driver}://{rest}"


def allowed_hosts(host: str) -> dict[str, str]:
    """The variable that names the hosts under which clients may call the server; MLflow's default is loopback alone.

    It is what keeps pages of other sites, opened in a browser on one of the machines, from using the server.
    """
    if is_loopback(host) or HOSTS in os.environ:
        return {}
    names = {"localhost", "127.0.0.1", "[[]::1]", host, *names_of_this_machine()}
    return {HOSTS: ",".join(sorted(names | {f"{name}:*" for name in names}))}


def names_of_this_machine() -> set[str]:
    """The names and IPv4 addresses under which others may know this machine."""
    names = {socket.gethostname(), socket.getfqdn()}
    with suppress(OSError):
        names |= set(socket.gethostbyname_ex(socket.gethostname())[2])
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: it asks which address would be used
        names.add(str(probe.getsockname()[0]))
    return names


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def lines(address: str, host: str, port: int, store: str, folder: Path) -> list[str]:
    """What whoever starts a server has to know of it."""
    everywhere = host in ("0.0.0.0", "::")
    name = socket.getfqdn()
    known = f"http://{socket.gethostname() if name.startswith('localhost') else name}:{port}" if everywhere else address
    told = [
        f"Tracking server: {known} (Ctrl-C ends it), with the database {store} and its files and log in {folder}",
        f"Runs: {page_of_runs(address).replace(address, known, 1)}",
        "Clients:",
        f"  export MLFLOW_TRACKING_URI={known}",
    ]
    if not is_loopback(host):
        told.append("It asks for no password; whoever reaches this address can read and change the record.")
    return told
