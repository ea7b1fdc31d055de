"""An outside world: a mail and job service on a real socket, that keeps its own log of what happened.

It answers 200, 202, 409, 410, 500 or nothing at all, as it was told for the next calls. Whatever comes a
second time under the same idempotency key happens once.
"""

import json
import threading
from collections import defaultdict, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What a call may meet beside success: an answer before anything happened, or silence after it did.
FAILS, SILENT = "fails", "silent"


class World:
    """Serves `POST /mail`, `POST /jobs`, `DELETE /mail/ID`, `DELETE /jobs/ID` and `GET /mail/ID`."""

    def __init__(self) -> None:
        #: Everything that happened, in order: what, and to which thing.
        self.log: list[tuple[str, str]] = []
        #: How often each call was made, by its idempotency key.
        self.calls: dict[str, int] = defaultdict(int)
        self._things: set[str] = set()
        self._running: set[str] = set()
        self._done: set[str] = set()
        self._plans: dict[str, deque[str]] = defaultdict(deque)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, name="world")
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def plan(self, call: str, *what: str) -> None:
        """Say what the next calls like `POST /mail` or `DELETE /mail/m-1` meet."""
        self._plans[call].extend(what)

    def start(self, job: str) -> None:
        """Let a job begin: from then on it will not be called off."""
        self._running.add(job)

    def there(self) -> set[str]:
        """What is in the world now."""
        with self._lock:
            return set(self._things)

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(
        self, method: str, path: str, key: str, body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]] | None:
        """Do what is asked; None is no answer at all."""
        call = f"{method} {path}"
        with self._lock:
            plan = self._plans[call].popleft() if self._plans[call] else ""
            self.calls[key] += 1
            if plan == FAILS:
                return 500, {}
            told = self._do(method, path, key, body)
            return None if plan == SILENT else told

    def _do(self, method: str, path: str, key: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        _, kind, *rest = path.split("/")
        if method == "GET":
            return (200, {"id": rest[0]}) if rest[0] in self._things else (404, {})
        thing = rest[0] if rest else body["id"]
        if (method, kind) == ("DELETE", "jobs") and thing in self._running:
            return 409, {"why": "it is running"}
        if key not in self._done:
            if method == "DELETE" and thing not in self._things:
                return 404, {}
            self._done.add(key)
            self.log.append((f"{method} {kind}", thing))
            (self._things.add if method == "POST" else self._things.discard)(thing)
        return (202 if call_is_slow(method, kind) else 200), {"id": thing}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        world = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"{}")
                answer = world.answer(self.command, self.path, self.headers["Idempotency-Key"] or "", body)
                if answer is None:
                    self.close_connection = True
                    return
                status, told = answer
                data = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - as http.server calls them

            def log_message(self, *_: object) -> None:
                """Say nothing: the world has a log of its own."""

        return Handler


def call_is_slow(method: str, kind: str) -> bool:
    """Whether a call is only accepted, and done later."""
    return (method, kind) == ("POST", "jobs")
