# Derived from client/countermand/_async/client.py by scripts/unasync.py. Do not edit.
"""The client: doors to one sidecar, and the runs opened through them."""

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from countermand._address import Address, Role, locate
from countermand._clock import Clock, elapsing
from countermand._grant import Asked, Authority
from countermand._models.budgets import Budgets, budgets_of
from countermand._retry import Pacing
from countermand._secret import SecretToken
from countermand._span import Span, seconds
from countermand._sync.connection import Connection, OnDisconnect
from countermand._sync.doors import Auditor, Issuer, Operator
from countermand._sync.grant import CurrentGrant
from countermand._sync.run import ActiveRun
from countermand._sync.tool_door import Tool
from countermand._sync.undo_door import Compensating
from countermand._twin import Twin
from countermand._world import Background, World

C = TypeVar("C")


def connect(
    home: str | os.PathLike[str] | None = None,
    *,
    target: str | None = None,
    timeout: float = 2.0,
    control_timeout: float = 10.0,
    on_disconnect: OnDisconnect = "keep",
    clock: Clock = elapsing,
) -> "Client":
    """Answer a client of the sidecar with this home, or of the user's own; it connects when it is used.

    `target` is the first port of a development sidecar on loopback, such as `127.0.0.1:7420`. `timeout` is
    the deadline of a decision in seconds, `control_timeout` that of a cancel or a report. `on_disconnect`
    says what scopes bound to a run do while no session tells of its stop: `keep` on, each commit being
    decided as ever, or `stop`. `clock` counts a permit's time; tests give their own.
    """
    return Client(
        locate(home, target),
        timeout=timeout,
        control_timeout=control_timeout,
        on_disconnect=on_disconnect,
        clock=clock,
    )


class Client:
    """A client of one sidecar.

    Its doors `issuer`, `tool`, `operator`, `auditor` and `compensator` have their roles' verbs.
    """

    def __init__(
        self,
        address: Address,
        *,
        timeout: float = 2.0,
        control_timeout: float = 10.0,
        on_disconnect: OnDisconnect = "keep",
        clock: Clock = elapsing,
        pacing: Pacing = World.pacing,
    ) -> None:
        self.address = address
        self.timeout = timeout
        self.control_timeout = control_timeout
        self.pacing = pacing
        self.background = Background()
        self.connection = Connection(address, clock, pacing, on_disconnect)
        self._twin = Twin(
            address=address,
            timeout=timeout,
            control_timeout=control_timeout,
            on_disconnect=on_disconnect,
            clock=clock,
        )
        self.issuer = Issuer(self.connection, Role.ISSUER, timeout, clock)
        self.tool = Tool(self.connection, Role.TOOL, timeout, clock)
        self.operator = Operator(self.connection, Role.OPERATOR, control_timeout, clock)
        self.auditor = Auditor(self.connection, Role.AUDITOR, control_timeout, clock)
        self.compensator = Compensating(self.connection, Role.COMPENSATOR, timeout, clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open_run(
        self,
        *,
        subject: str = "",
        agent: str = "",
        tenant: str = "",
        labels: Mapping[str, str] | None = None,
        ttl: Span | None = None,
        budgets: Budgets | None = None,
        run_id: str | None = None,
        parent_run_id: str = "",
        timeout: float | None = None,
    ) -> ActiveRun:
        """Open a run for one piece of an agent's work: `subject` is on whose behalf, `agent` who runs.

        `budgets` limit what it and every run below it may use, such as `{"tool_calls": 100}`: when one runs
        out the run is cancelled, unless it is a `Budget(100, on_exhausted="REFUSE")`.
        """
        asked: dict[str, Any] = {
            "subject": subject,
            "agent": agent,
            "tenant": tenant,
            "labels": labels,
            "ttl": ttl,
        }
        asked |= {"budgets": budgets_of(budgets), "parent_run_id": parent_run_id}
        return ActiveRun(self, run_id, timeout, asked)

    def use_token(self, token: SecretToken | str, *, extend: Span | None = None) -> CurrentGrant:
        """Act under a grant whose token another process handed over: current in the `with` block.

        With `extend` the grant is made to last that long when it is first acted under, however long its token
        waited somewhere, and again while the block goes on. That needs the issuer's socket.
        """
        secret = SecretToken(token) if isinstance(token, str) else token
        asked = Asked(extend=None if extend is None else seconds(extend))
        return CurrentGrant(self, Authority(asked, secret))

    def twin(self, kind: type[C]) -> C:
        """Answer the client of the other kind for the same sidecar."""
        return self._twin.client(kind)

    def close(self) -> None:
        """Wait for the outcomes that are still being put on record, then close every connection."""
        self.background.finish(self._close)

    def _close(self) -> None:
        self.background.drain()
        self._twin.close()
        self.connection.close()
