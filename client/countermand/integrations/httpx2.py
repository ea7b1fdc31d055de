"""Writes over httpx2 only under a permit: `httpx2.Client(transport=PermitTransport())`.

async with httpx2.AsyncClient(transport=AsyncPermitTransport()) as client:
    with run.grant(scopes=["http.* https://api.example.com/*"]):
        await client.post("https://api.example.com/orders", json=order)
"""

from typing import Any, ClassVar

import httpx2

from countermand.integrations._http.call import Call
from countermand.integrations._http.sending import Answer, Write
from countermand.integrations._http.transport import Async, Blocking

__all__ = ["Answer", "AsyncPermitTransport", "Call", "PermitTransport", "Write"]


class PermitTransport(Blocking, httpx2.BaseTransport):
    """Lets a write out only under a permit, asked for right before it is sent. Reads pass untouched.

    It stands before a `transport`, by default httpx2's own. `action` answers what `perform` is to be told of
    a request; `reads=True` asks for reads, too; `also_reads` says of which other requests you know that they
    change nothing; `settle` gets the action and the answer, and may say more of what became of it.
    """

    library: ClassVar[Any] = httpx2


class AsyncPermitTransport(Async, httpx2.AsyncBaseTransport):
    """The same for `httpx2.AsyncClient`."""

    library: ClassVar[Any] = httpx2
