"""`action` and `perform`: the boundary every side effect passes."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from countermand._async.effect import Effect
from countermand._async.grant import CurrentGrant, current_grant
from countermand._digest import digest
from countermand._errors import (
    AlreadyPermitted,
    AlreadySettled,
    GrantUnknown,
    RunEnded,
    TooLate,
    TryAgain,
)
from countermand._models.actions import Intent, Permit
from countermand._span import Span
from countermand._words import Reversibility

#: After these answers to a commit there is no prepared action left to abandon.
_NOTHING_LEFT = (RunEnded, GrantUnknown, TooLate, AlreadyPermitted, AlreadySettled)


def action(
    name: str,
    *,
    resource: str = "",
    args: Mapping[str, object] | None = None,
    op_id: str | None = None,
    reversibility: Reversibility = Reversibility.UNSPECIFIED,
    compensation: str = "",
    ttl: Span | None = None,
    timeout: float | None = None,
) -> "Action":
    """Intend a side effect under the current grant: prepared on entry, to be committed inside the block.

    `args` are bound to the permit by their digest. `op_id` names the effect for ever; give one if another
    process may try the same effect. `ttl` is how long it may stay prepared; `timeout`, in seconds, is the
    deadline of each call.
    """
    intent = Intent.of(
        name,
        resource=resource,
        args=args,
        op_id=op_id,
        reversibility=reversibility,
        compensation=compensation,
    )
    return Action(current_grant(), intent, {} if args is None else args, op_id is None, timeout, ttl)


def perform(
    name: str,
    *,
    resource: str = "",
    args: Mapping[str, object] | None = None,
    op_id: str | None = None,
    reversibility: Reversibility = Reversibility.UNSPECIFIED,
    compensation: str = "",
    use_within: Span | None = None,
    timeout: float | None = None,
) -> "Performance":
    """Do a side effect that needs no preparation: permitted on entry, settled on exit, one call each."""
    intent = Intent.of(
        name,
        resource=resource,
        args=args,
        op_id=op_id,
        reversibility=reversibility,
        compensation=compensation,
    )
    return Performance(
        current_grant(), intent, {} if args is None else args, op_id is None, timeout, use_within
    )


class Action(Effect):
    """A prepared action. Nothing may happen until `commit`; left without one, it is abandoned."""

    def __init__(
        self,
        grant: CurrentGrant,
        intent: Intent,
        args: Mapping[str, object],
        own_op_id: bool,
        timeout: float | None,
        ttl: Span | None,
    ) -> None:
        super().__init__(grant, intent, args, own_op_id, timeout)
        self._ttl = ttl

    async def __aenter__(self) -> Self:
        token = await self._grant.token()
        try:
            await self._grant.tool.prepare(token, self.intent, ttl=self._ttl, timeout=self._timeout)
        except BaseException as error:
            if not isinstance(error, Exception):  # cancelled in mid-call: it may be on record
                await self._give_up(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keep_back()  # another task or thread may be waiting for the permit still
        if not self._over and not isinstance(error, RunEnded):
            await self._give_up(error)

    def commit(self, *, use_within: Span | None = None) -> "Commit":
        """Ask, on entry of the block, whether it may happen now; settle, on exit, what became of it.

        Raises `Revoked` and the like instead of entering. `use_within` is how long the permit should last.
        """
        return Commit(self, use_within)


class Commit:
    """The block in which the effect may happen."""

    def __init__(self, action: Action, use_within: Span | None) -> None:
        self._action = action
        self._use_within = use_within

    async def __aenter__(self) -> Permit:
        return await self._action._ask(self._question)

    async def _question(self) -> Permit:
        """Ask with the digest of the arguments as they are now."""
        action = self._action
        token = await action._grant.token()
        try:
            return await action._grant.tool.commit(
                token,
                action.op_id,
                digest(action.args),
                use_within=self._use_within,
                timeout=action._timeout,
            )
        except _NOTHING_LEFT:
            action._over = True
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._action._leave(error)


class Performance(Effect):
    """An action that is permitted when its block begins and settled when it ends."""

    def __init__(
        self,
        grant: CurrentGrant,
        intent: Intent,
        args: Mapping[str, object],
        own_op_id: bool,
        timeout: float | None,
        use_within: Span | None,
    ) -> None:
        super().__init__(grant, intent, args, own_op_id, timeout)
        self._use_within = use_within

    async def __aenter__(self) -> Self:
        try:
            await self._ask(self._question)
        except BaseException as error:
            if isinstance(error, TryAgain) or not isinstance(error, Exception):
                await self._give_up(error)  # the permit may have been given
            raise
        return self

    async def _question(self) -> Permit:
        """Put it on record and ask at once."""
        token = await self._grant.token()
        return await self._grant.tool.perform(
            token, self.intent, use_within=self._use_within, timeout=self._timeout
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave(error)
