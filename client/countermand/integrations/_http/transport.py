"""The transports of httpx and httpx2, which differ in their name only: written once, over either library."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

import countermand
import countermand.sync
from countermand._errors import FixTheCall
from countermand.integrations._http.call import Call
from countermand.integrations._http.sending import Knows, Mapper, Rules, Sending, Settler

#: What their connections call the step at which the first byte leaves, over HTTP/1.1 and HTTP/2.
_BEGINS = ".send_request_headers.started"


class _Transport:
    """What both transports have in common."""

    #: httpx, or httpx2.
    library: ClassVar[Any]
    _rules: Rules

    def _sending(self, request: Any) -> Sending | None:
        try:
            body = request.content
        except self.library.RequestNotRead:
            body = request.stream
        call = Call.of(request.method, str(request.url), request.headers.raw, body)
        sending = self._rules.sending(call)
        if sending is not None and "target" in request.extensions:
            raise FixTheCall(
                f"the request to {call.resource} has the extension 'target', so its URL is not what it acts "
                "on: say that in its URL"
            )
        return sending

    def _permitted(self, request: Any, sending: Sending, trace: Callable[..., object]) -> Any:
        """Copy the request, so that what is added to this one is not taken along by a redirect."""
        headers = request.headers.copy()
        headers.update(sending.headers())
        return self.library.Request(
            request.method,
            request.url,
            headers=headers,
            stream=request.stream,
            extensions={**request.extensions, "trace": trace},
        )

    @property
    def _unsent(self) -> tuple[type[BaseException], ...]:
        library = self.library
        return (
            library.ConnectError,
            library.ConnectTimeout,
            library.PoolTimeout,
            library.UnsupportedProtocol,
        )


class Blocking(_Transport):
    """Asks for a permit before each write, and settles it by its answer."""

    def __init__(
        self,
        transport: Any = None,
        *,
        action: Mapper | None = None,
        reads: bool = False,
        also_reads: Knows | None = None,
        settle: Settler | None = None,
    ) -> None:
        self._inner = self.library.HTTPTransport() if transport is None else transport
        self._rules = Rules(action=action, reads=reads, also_reads=also_reads, settle=settle)

    def handle_request(self, request: Any) -> Any:
        """Send one request, if it may be."""
        sending = self._sending(request)
        if sending is None:
            return self._inner.handle_request(request)
        response: Any = None
        try:
            with countermand.sync.perform(**sending.told) as act, sending.under(act, self._unsent):
                trace = _tell(sending, request.extensions.get("trace"))
                response = self._inner.handle_request(self._permitted(request, sending, trace))
                sending.answered(response.status_code, response.headers)
        except BaseException:
            if response is not None:  # nobody gets it, so nobody else gives its connection back
                response.close()
            raise
        return response

    def close(self) -> None:
        """Close the transport within."""
        self._inner.close()


class Async(_Transport):
    """The same on an event loop."""

    def __init__(
        self,
        transport: Any = None,
        *,
        action: Mapper | None = None,
        reads: bool = False,
        also_reads: Knows | None = None,
        settle: Settler | None = None,
    ) -> None:
        self._inner = self.library.AsyncHTTPTransport() if transport is None else transport
        self._rules = Rules(action=action, reads=reads, also_reads=also_reads, settle=settle)

    async def handle_async_request(self, request: Any) -> Any:
        """Send one request, if it may be."""
        sending = self._sending(request)
        if sending is None:
            return await self._inner.handle_async_request(request)
        response: Any = None
        try:
            async with countermand.perform(**sending.told) as act:
                with sending.under(act, self._unsent):
                    trace = _tell_async(sending, request.extensions.get("trace"))
                    response = await self._inner.handle_async_request(
                        self._permitted(request, sending, trace)
                    )
                    sending.answered(response.status_code, response.headers)
        except BaseException:
            if response is not None:
                await response.aclose()
            raise
        return response

    async def aclose(self) -> None:
        """Close the transport within."""
        await self._inner.aclose()


def _tell(sending: Sending, also: Callable[..., object] | None) -> Callable[..., object]:
    def trace(name: str, info: Mapping[str, Any]) -> None:
        _hear(sending, name, info)
        if also is not None:
            also(name, info)

    return trace


def _tell_async(
    sending: Sending, also: Callable[..., Awaitable[object]] | None
) -> Callable[..., Awaitable[object]]:
    async def trace(name: str, info: Mapping[str, Any]) -> None:
        _hear(sending, name, info)
        if also is not None:
            await also(name, info)

    return trace


def _hear(sending: Sending, name: str, info: Mapping[str, Any]) -> None:
    """Hear of a step on the way. To ask a proxy for a tunnel is not yet to send anything."""
    sending.watched = True
    is_tunnel = getattr(info.get("request"), "method", b"") == b"CONNECT" and sending.method != "CONNECT"
    if name.endswith(_BEGINS) and not is_tunnel:
        sending.begin()
