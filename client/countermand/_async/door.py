"""Calls in one role, and the verb that two roles have in common."""

from collections.abc import Iterable
from dataclasses import dataclass

from countermand import _rpcs as rpcs
from countermand import _wire as wire
from countermand._address import Role
from countermand._async.connection import Answer, Connection
from countermand._clock import Clock
from countermand._ids import new_id
from countermand._models.budgets import Budgets
from countermand._models.runs import ChildRun, Delegated
from countermand._rpcs import Q, R, Rpc
from countermand._scope import Scope
from countermand._secret import SecretToken
from countermand._span import Span, duration
from countermand.v1 import grant_service_pb2 as grants


@dataclass(frozen=True, slots=True)
class Door:
    """Calls in one role. `timeout` is the deadline in seconds of each call that does not say its own."""

    connection: Connection
    role: Role
    timeout: float
    clock: Clock

    async def _call(
        self, rpc: Rpc[Q, R], request: Q, timeout: float | None, token: SecretToken | str | None = None
    ) -> Answer[R]:
        secret = SecretToken(token) if isinstance(token, str) else token
        limit = self.timeout if timeout is None else timeout
        return await self.connection.call(self.role, rpc, request, limit, secret)


class Delegator(Door):
    """What those may ask who may hand on a grant: its run's owner, and the tool that holds it."""

    async def delegate(
        self,
        token: SecretToken | str,
        *,
        scopes: Iterable[Scope | str],
        ttl: Span | None = None,
        audience: str = "",
        budgets: Budgets | None = None,
        sealed: bool = False,
        child: ChildRun | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Delegated:
        """Hand on part of a grant, to its own run or to a `child` run that is opened in the same step.

        The same `request_id` gets the same grant.
        """
        request = grants.DelegateGrantRequest(
            request_id=new_id("g") if request_id is None else request_id,
            scopes=wire.scope_messages(scopes),
            ttl=duration(ttl),
            audience=audience,
            budgets=wire.budget_messages(budgets),
            sealed=sealed,
            child_run=wire.child_message(child),
        )
        told = (await self._call(rpcs.DELEGATE, request, timeout, token)).message
        run = wire.run(told.run) if told.HasField("run") else None
        return Delegated(
            grant=wire.grant(told.grant),
            token=SecretToken(told.grant_token),
            run=run,
            replayed=told.replayed,
            remaining=dict(told.remaining),
        )
