"""A server that misbehaves in one of many ways, and a store whose calls fail when a test wants it."""

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from requests import ConnectionError as Lost


def _answer(status: str, body: str, kind: str = "text/html") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return (head + body).encode()


ANSWERS = {
    "error 500": _answer("500 Internal Server Error", "oops"),
    "error 503": _answer("503 Service Unavailable", "later"),
    "error 502 of a proxy": _answer("502 Bad Gateway", "<html>bad gateway</html>"),
    "page 404 of another program": _answer("404 Not Found", "<html>no such page</html>"),
    "page 200 of another program": _answer("200 OK", "<html>welcome</html>"),
    "a database error": _answer(
        "500 Oops", '{"error_code": "INTERNAL_ERROR", "message": "db gone"}', "application/json"
    ),
    "wrong password 401": _answer("401 Unauthorized", "You are not authenticated."),
    "forbidden 403": _answer("403 Forbidden", "Invalid Host header - possible DNS rebinding attack detected"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{",
    "nothing": b"",
}


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        mode = self.server.mode  # type: ignore[attr-defined]
        with suppress(OSError):
            if mode == "silence":
                time.sleep(60)
            self.request.recv(65536)
            if mode == "drops":
                for byte in ANSWERS["error 500"]:
                    self.request.sendall(bytes([byte]))
                    time.sleep(1)
            self.request.sendall(ANSWERS[mode])


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads, block_on_close, allow_reuse_address = True, False, True
    mode = "nothing"


@contextmanager
def bad_server(mode: str) -> Iterator[str]:
    """The address of a server that behaves like this: see ANSWERS, and refused, full queue, silence, drops."""
    if mode in ("refused", "full queue"):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            if mode == "full queue":
                listener.listen(0)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        return
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.mode = mode
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@dataclass
class Flaky:
    """An MLflow client whose calls `fails` may let fail before or after they have had their effect.

    fails: (number of the call, its name, whether it has had its effect) -> whether it fails.
    """

    client: Any
    fails: Callable[[int, str, bool], bool] = lambda *_: False
    calls: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[..., object]:
        method = getattr(self.client, name)

        @wraps(method)
        def call(*args: object, **kwargs: object) -> object:
            number = len(self.calls)
            self.calls.append(name)
            if self.fails(number, name, False):
                raise Lost("Connection refused")
            result = method(*args, **kwargs)
            if self.fails(number, name, True):
                raise Lost("Connection aborted")
            return result

        return call
