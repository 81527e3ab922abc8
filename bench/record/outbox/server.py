"""A store on a server: calls that end in time, and what their errors mean."""

import os
import re
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import TYPE_CHECKING, TypeVar

from mcr_bench.bench.core.waiting import Late, within
from mcr_bench.bench.errors import Unavailable, in_words, one_line
from mcr_bench.bench.printable import masked

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

T = TypeVar("T")
# MLflow waits minutes for a server that does not answer, and hides for as long that it does.
IMPATIENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "8",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
}
SECONDS, PROBE_SECONDS, DOWNLOAD_SECONDS = 9.0, 5.0, 300.0
UPLOAD_SECONDS, SLOWEST = 30.0, 50_000  # and the bytes that a line which is worth waiting for takes in a second
OPENING_SECONDS = {"http": SECONDS, "database": 60.0}  # a database may have to make its tables
REFUSALS = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "BAD_REQUEST"}
KNOWN = (
    (r"Connection refused|actively refused", "connection refused"),
    (r"timed? ?out|no answer within", "no answer in time"),
    (r"Name or service not known|name resolution|nodename nor servname|No address", "its name is not known here"),
    (r"Connection reset|Connection aborted|RemoteDisconnected|Broken pipe|IncompleteRead", "it breaks off connections"),
    (r"CERTIFICATE_VERIFY|SSLError|WRONG_VERSION", "no secure connection"),
    (r"error code 401|UNAUTHENTICATED|Unauthorized", "it does not accept the credentials (401)"),
    (r"error code 403|Invalid Host header|PERMISSION_DENIED", "it does not allow this (403)"),
    (r"too many (5\d\d) error|error code (5\d\d)", "it answers with an error of its own"),
    (r"not in a valid JSON|error code 404|ENDPOINT_NOT_FOUND", "what answers there is not an MLflow server"),
)


def is_refusal(error: BaseException) -> bool:
    """Whether an error means that the server is there and does not take what it was given, nor will it later."""
    from mlflow.exceptions import RestException

    if isinstance(error, RestException):
        return error.error_code in REFUSALS
    return not is_outage(error)


def is_outage(error: BaseException) -> bool:
    """Whether an error means that the server cannot be reached or used now."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import DBAPIError

    if isinstance(error, MlflowException):  # one with a body is a page of what stands between here and the server
        return error.error_code not in REFUSALS or "Response body:" in str(error)
    if type(error).__module__.startswith("google.protobuf"):  # an answer in another form than MLflow's
        return True
    return isinstance(error, Late | RequestException | DBAPIError | ConnectionError | TimeoutError)


def reason_of(error: BaseException) -> str:
    """An error of a server in few words, without credentials."""
    text = in_words(error)
    known = (reason for pattern, reason in KNOWN if re.search(pattern, text, re.IGNORECASE))
    return next(known, one_line(masked(text), 200))


def unavailable(address: str, error: BaseException) -> Unavailable:
    """The error that ends a command because the server at `address` is missing."""
    return Unavailable(
        f"the record at '{masked(address)}' cannot be opened: {reason_of(error)}. Is the server running? "
        "(MLFLOW_HTTP_REQUEST_TIMEOUT=60 waits for a slow one.) Give another --tracking-uri or MCR_BENCH_HOME."
    )


def impatient() -> None:
    """Let MLflow give up early, except where the user's environment sets the times."""
    for name, value in IMPATIENT.items():
        os.environ.setdefault(name, value)


def patience(call: str, arguments: Sequence[object] = ()) -> float:
    """How many seconds a call of MLflow's client may take, which for a file depends on its size."""
    if call == "download_artifacts":
        return DOWNLOAD_SECONDS
    if call == "log_artifact":
        return UPLOAD_SECONDS + os.path.getsize(str(arguments[1])) / SLOWEST
    asked = os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "")
    return max(SECONDS, float(asked) + 1) if asked.isdigit() else SECONDS


class Bounded:
    """MLflow's client with calls that end in time, also where a server sends its answer byte by byte. Ctrl-C ends each.

    limit: what a call of so many seconds returns or raises, such as `within`.
    """

    def __init__(self, client: "MlflowClient", limit: Callable[[float, Callable[[], object]], object] = within) -> None:
        self._client, self._limit = client, limit

    def __getattr__(self, name: str) -> Callable[..., object]:
        method = getattr(self._client, name)

        @wraps(method)
        def bounded(*args: object, **kwargs: object) -> object:
            return self._limit(patience(name, args), partial(method, *args, **kwargs))

        return bounded


def bounded_call(address: str, seconds: float, call: Callable[[], T]) -> T:
    """What `call` returns or raises; Unavailable if it takes longer or the server is missing."""
    try:
        return within(seconds, call)
    except Exception as error:
        if is_outage(error):
            raise unavailable(address, error) from None
        raise
