"""Writes over aiohttp only under a permit: `aiohttp.ClientSession(middlewares=[permit_middleware()])`.

Put it last, so that other middlewares stand before it and nothing between it and the target.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import BytesPayload, ClientRequest, ClientResponse

import countermand
from countermand.integrations._http.call import Call
from countermand.integrations._http.sending import Answer, Knows, Mapper, Rules, Sending, Settler, Write

__all__ = ["Answer", "Call", "Write", "permit_middleware"]

Handler = Callable[[ClientRequest], Awaitable[ClientResponse]]


def permit_middleware(
    *,
    action: Mapper | None = None,
    reads: bool = False,
    also_reads: Knows | None = None,
    settle: Settler | None = None,
) -> Callable[[ClientRequest, Handler], Awaitable[ClientResponse]]:
    """Answer a middleware that lets a write out only under a permit. Reads pass untouched.

    `action` answers what `perform` is to be told of a request; `reads=True` asks for reads, too; `also_reads`
    says of which other requests you know that they change nothing; `settle` gets the action and the answer,
    and may say more of what became of it.
    """
    rules = Rules(action=action, reads=reads, also_reads=also_reads, settle=settle)

    async def permitted(request: ClientRequest, handler: Handler) -> ClientResponse:
        sending = rules.sending(await _call(request))
        if sending is None:
            return await handler(request)
        async with countermand.perform(**sending.told) as act:
            with sending.under(act):
                request.headers.update(sending.headers())  # aiohttp makes another request of a redirect
                with _asking_before_it_sends(request, sending):
                    response = await handler(request)
                sending.answered(response.status, response.headers)
                return response

    return permitted


async def _call(request: ClientRequest) -> Call:
    body: Any = request.body
    if isinstance(body, BytesPayload):
        body = await body.as_bytes()
    return Call.of(request.method, str(request.url), request.headers.items(), body)


@contextmanager
def _asking_before_it_sends(request: ClientRequest, sending: Sending) -> Iterator[None]:
    """Have the request look at its permit between connecting and sending, in this block."""
    send = request.send
    sending.watched = True

    async def asking(conn: Any) -> ClientResponse:
        sending.begin()
        return await send(conn)

    request.send = asking  # type: ignore[method-assign]
    try:
        yield
    finally:
        request.send = send  # type: ignore[method-assign]
