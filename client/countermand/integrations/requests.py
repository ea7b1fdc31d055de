"""Writes over requests only under a permit: mount a `PermitAdapter` on a session.

session = requests.Session()
session.mount("https://", PermitAdapter())
session.mount("http://", PermitAdapter())
"""

from contextvars import ContextVar
from typing import Any

import urllib3
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

import countermand.sync
from countermand.integrations._http.call import Call
from countermand.integrations._http.sending import Answer, Knows, Mapper, Rules, Sending, Settler, Write

__all__ = ["Answer", "Call", "PermitAdapter", "Write"]

if urllib3.__version__.startswith("1."):  # type: ignore[attr-defined]
    # Its connections send bodies by another way, past the look at the permit.
    raise ImportError(
        "countermand.integrations.requests needs urllib3 2: pip install 'countermand[requests]'"
    )

#: The write that this thread is about to send; its connection asks.
_sending: ContextVar[Sending | None] = ContextVar("countermand_requests_sending", default=None)


class PermitAdapter(HTTPAdapter):
    """Lets a write out only under a permit, asked for right before it is sent. Reads pass untouched.

    `action` answers what `perform` is to be told of a request; `reads=True` asks for reads, too; `also_reads`
    says of which other requests you know that they change nothing; `settle` gets the action and the answer,
    and may say more of what became of it. The rest is as for requests' own
    adapter, but `max_retries` repeats no write that may have been sent: that is refused.
    """

    __attrs__ = [*HTTPAdapter.__attrs__, "_rules"]  # noqa: RUF012 - requests' own list of what a pickle holds

    def __init__(
        self,
        *told: Any,
        action: Mapper | None = None,
        reads: bool = False,
        also_reads: Knows | None = None,
        settle: Settler | None = None,
        **named: Any,
    ) -> None:
        self._rules = Rules(action=action, reads=reads, also_reads=also_reads, settle=settle)
        super().__init__(*told, **named)

    def send(self, request: PreparedRequest, *told: Any, **named: Any) -> Response:
        """Send one request, if it may be."""
        call = Call.of(request.method or "", request.url or "", request.headers.items(), request.body)
        sending = self._rules.sending(call)
        if sending is None:
            return super().send(request, *told, **named)
        with countermand.sync.perform(**sending.told) as act, sending.under(act):
            permitted = request.copy()  # what is added to this one is not taken along by a redirect
            permitted.headers.update(sending.headers())
            response = self._send(sending, permitted, *told, **named)
            sending.answered(response.status_code, response.headers)
            response.request = request
            return response

    def _send(self, sending: Sending, request: PreparedRequest, *told: Any, **named: Any) -> Response:
        current = _sending.set(sending)
        try:
            return super().send(request, *told, **named)
        finally:
            _sending.reset(current)

    def get_connection_with_tls_context(self, *told: Any, **named: Any) -> Any:
        """Answer the pool of connections for a request; each of them asks before it sends."""
        pool = super().get_connection_with_tls_context(*told, **named)
        kind = pool.ConnectionCls  # read once: another thread may be here, and to ask twice is to refuse
        if not issubclass(kind, _Asking):
            pool.ConnectionCls = type("Asking", (_Asking, kind), {})
        if sending := _sending.get():
            sending.watched = True
        return pool


class _Asking:
    """A connection that looks at the permit between connecting and sending."""

    sock: Any
    connect: Any

    def request(self, *told: Any, **named: Any) -> None:
        """Send one request."""
        if sending := _sending.get():
            if self.sock is None:
                self.connect()
            sending.begin()
        super().request(*told, **named)  # type: ignore[misc]
