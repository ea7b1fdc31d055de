"""Making connections to the Redis that a URL names, and asking it whether it is fit before it is used."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from grant_service.core.errors import ErrorReason, StoreFailed
from grant_service.core.store import Durability
from grant_service.store.faults import origin
from grant_service.store.fitness import examine
from grant_service.store.link import Call, PipeliningLink
from grant_service.store.scripts import Script


class Dial:
    """Makes links to one server. Logging in, TLS and sockets are redis-py's; repeating is nobody's."""

    def __init__(self, url: str, scripts: Iterable[Script], weakest: Durability, timeout: float) -> None:
        """Take the URL (redis://, rediss:// or unix://) and the weakest durability accepted."""
        self.where = _without_secrets(url)
        self._scripts, self._weakest, self._timeout = tuple(scripts), weakest, timeout
        self._found = weakest
        try:
            self._options: dict[str, Any] = dict(parse_url(url))
        except ValueError as error:
            raise self._unfit("its URL is not one", "use redis://, rediss:// or unix://") from error
        self._class = self._options.pop("connection_class", Connection)
        self._options |= {
            "protocol": 2,
            "decode_responses": True,
            "encoding": "utf-8",
            "encoding_errors": "strict",
            "socket_timeout": None,  # the link's own timeout covers waiting in line as well
            "socket_connect_timeout": timeout,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_timeout": False,
            "retry_on_error": [],
            "health_check_interval": 0,
            "driver_info": None,
        }

    def link(self) -> PipeliningLink:
        """Make a link; it connects when it is first used, and again after its connection broke."""
        return PipeliningLink(
            self.connection, self._greet, connect_timeout=self._timeout, command_timeout=self._timeout
        )

    def durability(self) -> Durability:
        """Answer what the server was found to be when it was last asked."""
        return self._found

    def named(self, failed: StoreFailed, error: Exception) -> StoreFailed:
        """Say which server it was that failed, and for one that does not answer what the system said."""
        reason, details = failed.refusal.reason, dict(failed.refusal.details)
        cause = f"{self.where}: {details.pop('cause', '')}"
        if reason is ErrorReason.STORE_UNAVAILABLE:
            cause = f"{cause}: {origin(error)}"
        return StoreFailed(reason, cause=cause, **details)

    def connection(self) -> AbstractConnection:
        """Make a connection; whoever takes it connects it."""
        made: AbstractConnection = self._class(**self._options)
        return made

    async def _greet(self, ask: Call) -> None:
        self._found = await examine(ask, self._weakest)
        for script in self._scripts:
            await ask("SCRIPT", "LOAD", script.text)

    def _unfit(self, cause: str, remedy: str) -> StoreFailed:
        return StoreFailed(ErrorReason.STORE_UNFIT, cause=f"{self.where}: {cause}", remedy=remedy)


def _without_secrets(url: str) -> str:
    """A URL without password and options, which may hold one."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    user = parts.username or ""
    return f"{parts.scheme}://{user}{'@' if user else ''}{place}{parts.path}"
