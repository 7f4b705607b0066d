"""A web server on 127.0.0.1 that answers GET and HEAD as a test tells it to; a port where none listens."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Handler = http.server.BaseHTTPRequestHandler
Answer = Callable[[Handler], object]


@contextmanager
def silence(after: Answer | None = None) -> Iterator[str]:
    """Serve an answer that never ends (until the block does), after what ``after`` sends."""
    release = threading.Event()

    def answer(handler: Handler) -> None:
        if after is not None:
            after(handler)
            handler.wfile.flush()
        release.wait(30)

    with serving(answer) as address:
        try:
            yield address
        finally:
            release.set()


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Serve until the block ends; yields the address, such as http://127.0.0.1:8000."""

    class Server(Handler):
        def do_GET(self) -> None:  # noqa: N802  # the name is http.server's
            answer(self)

        def do_HEAD(self) -> None:  # noqa: N802
            answer(self)

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def closed_address() -> str:
    """The address of a port that was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"
