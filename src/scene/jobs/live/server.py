"""Figures of a live run over HTTP, for people, for Prometheus and for supervisors, and a way to change two settings."""

from __future__ import annotations

import hmac
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, Protocol

from scene.errors import SceneError, UsageError
from scene.jobs.live.figures import Figures
from scene.jobs.live.prometheus import CONTENT_TYPE, exposition
from scene.jobs.live.request import LiveRequest

log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
_MOST_BYTES = 1024
_TIMEOUT_S = 5.0


class Controlled(Protocol):
    """A run as the server sees it."""

    figures: Figures

    @property
    def ready(self) -> bool: ...

    def set_strength(self, strength: float) -> None: ...

    def set_bitrate(self, kilobits: int) -> None: ...


class Server:
    """Serves until `close`.

    GET / is a page, /figures the reading as JSON, /metrics that for Prometheus; /health answers 200 while the process
    works, /ready while pictures go out and 503 otherwise. POST /settings takes {"strength": x, "bitrate": kbit/s},
    either or both, with the token as `Authorization: Bearer TOKEN`: 403 without the right one, 409 where the run cannot
    do it.

    Raises:
        UsageError: the address is none.
        SceneError: it is taken.
    """

    def __init__(self, run: Controlled, at: str, token: str | None) -> None:
        host, port = _host_and_port(at)

        class Handler(_Handler):
            controlled = run
            secret = token

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise SceneError(f"figures cannot be served at {host}:{port}: {error.strerror}.") from None
        self._server.daemon_threads = True
        self.address = f"http://{host}:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, name="figures", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answers no more."""
        self._server.shutdown()
        self._server.server_close()


def open_server(run: Controlled, request: LiveRequest) -> Server:
    """The server that a request asks for. Raises as `Server` does."""
    assert request.serve is not None
    server = Server(run, request.serve, request.token)
    log.info("figures are at %s", server.address)
    return server


def _host_and_port(at: str) -> tuple[str, int]:
    host, _, port = at.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise UsageError(f"`serve` {at} makes no sense; give a port, such as 8080, or HOST:PORT.")
    return host.strip("[]") or _LOOPBACK, int(port)


class _RefusedError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Handler(BaseHTTPRequestHandler):
    controlled: Controlled
    secret: str | None
    timeout = _TIMEOUT_S
    server_version = "scene"
    sys_version = ""

    def do_GET(self) -> None:
        pages: dict[str, Callable[[], None]] = {
            "/": self._page,
            "/figures": lambda: self._json(200, asdict(self.controlled.figures.reading())),
            "/metrics": lambda: self._answer(200, CONTENT_TYPE, exposition(self.controlled.figures)),
            "/health": lambda: self._json(200, {"health": "ok"}),
            "/ready": self._ready,
        }
        answer = pages.get(self.path.partition("?")[0])
        if answer is None:
            self._json(404, {"error": "there is no such page"})
        else:
            answer()

    def do_POST(self) -> None:
        try:
            if self.path != "/settings":
                raise _RefusedError(404, "there is no such page")
            self._check_token()
            self._change(self._body())
        except _RefusedError as refused:
            self._json(refused.code, {"error": str(refused)})
        else:
            reading = self.controlled.figures.reading()
            self._json(200, {"strength": reading.strength, "bitrate": reading.bitrate})

    def _check_token(self) -> None:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.secret is None:
            raise _RefusedError(403, "this run has no token, so its settings stay as they are")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self.secret.encode()):
            log.warning("a change of settings was refused: the token is wrong.")
            raise _RefusedError(403, "the token is wrong")

    def _body(self) -> dict[str, Any]:
        try:
            length = int(self.headers.get("Content-Length", ""))
            if not 0 < length <= _MOST_BYTES:
                raise ValueError
            body = json.loads(self.rfile.read(length))
        except ValueError:
            raise _RefusedError(400, 'give JSON, such as {"strength": 0.5}') from None
        known = isinstance(body, dict) and set(body) <= {"strength", "bitrate"} and body
        if not known or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in body.values()):
            raise _RefusedError(400, "give a number for strength, bitrate or both")
        return dict(body)

    def _change(self, settings: dict[str, Any]) -> None:
        try:
            if "strength" in settings:
                self.controlled.set_strength(float(settings["strength"]))
                log.info("strength is %g from now on.", settings["strength"])
            if "bitrate" in settings:
                self.controlled.set_bitrate(int(settings["bitrate"]))
                log.info("bitrate is %d kbit/s from now on.", settings["bitrate"])
        except (UsageError, OverflowError) as error:
            raise _RefusedError(409, str(error)) from None

    def _ready(self) -> None:
        ready = self.controlled.ready
        self._json(200 if ready else 503, {"ready": ready})

    def _page(self) -> None:
        page = files("scene.jobs.live").joinpath("page.html").read_text("utf-8")
        self._answer(200, "text/html; charset=utf-8", page)

    def _json(self, code: int, content: dict[str, Any]) -> None:
        self._answer(code, "application/json", json.dumps(content))

    def _answer(self, code: int, kind: str, text: str) -> None:
        data = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'; img-src data:")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: a line for each look at the figures would bury the log."""
