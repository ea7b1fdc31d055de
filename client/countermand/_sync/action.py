# Derived from client/countermand/_async/action.py by scripts/unasync.py. Do not edit.
"""`action`: the boundary a side effect passes in two steps."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from countermand._amendment import amended, unseen
from countermand._approval import APPROVAL_TIMEOUT
from countermand._digest import digest
from countermand._effect import Plan
from countermand._errors import AwaitingApproval, RunEnded
from countermand._leaving import NOTHING_LEFT, leaves_something
from countermand._models.actions import Permit, Prepared
from countermand._span import Span
from countermand._sync.approval import agreed
from countermand._sync.effect import Effect
from countermand._sync.grant import CurrentGrant, current_grant
from countermand._words import ActionState, ErrorReason, Reversibility
from countermand._world import Shield


def action(
    name: str,
    *,
    resource: str = "",
    args: Mapping[str, object] | None = None,
    op_id: str | None = None,
    reversibility: Reversibility = Reversibility.UNSPECIFIED,
    compensation: str = "",
    compensation_args: Mapping[str, object] | None = None,
    probe: str = "",
    costs: Mapping[str, int] | None = None,
    summary: str = "",
    ttl: Span | None = None,
    approval_timeout: Span | None = APPROVAL_TIMEOUT,
    timeout: float | None = None,
) -> "Action":
    """Intend a side effect under the current grant: prepared on entry, to be committed inside the block.

    `args` are bound to the permit by their digest. `op_id` names the effect for ever; give one if another
    process may try the same effect. `costs` are what it takes of budgets; they are held from the entry on.
    `ttl` is how long it may stay prepared; `timeout`, in seconds, is the deadline of each call.

    `compensation` names the function that undoes it, and `compensation_args` is what that is called with;
    `probe` names the one that can tell what became of it. Compensators have them: see `compensator`.

    Where a person has to agree first, they are shown `summary`, and entering the block waits for them, up to
    `approval_timeout`; None does not wait and raises `AwaitingApproval`. They may have agreed to narrower
    arguments: act with those in `act.args`, and look at them before the commit.
    """
    plan = Plan.of(
        name,
        args,
        op_id,
        timeout,
        approval_timeout,
        resource=resource,
        reversibility=reversibility,
        compensation=compensation,
        compensation_args=compensation_args,
        probe=probe,
        costs=costs,
        summary=summary,
    )
    return Action(current_grant(), plan, ttl)


class Action(Effect):
    """A prepared action. Nothing may happen until `commit`; left without one, it is abandoned."""

    def __init__(self, grant: CurrentGrant, plan: Plan, ttl: Span | None) -> None:
        super().__init__(grant, plan)
        self._ttl = ttl

    def __enter__(self) -> Self:
        try:
            self._take_up(agreed(self._prepare, self._waiting))
        except BaseException as error:
            if leaves_something(error, self._waiting.is_on):
                self._give_up(error)
            raise
        return self

    def _prepare(self) -> Prepared:
        token = self._grant.to_act()
        prepared = self._grant.tool.prepare(token, self.intent, ttl=self._ttl, timeout=self._timeout)
        if prepared.state is ActionState.AWAITING_APPROVAL:
            raise AwaitingApproval(
                f"action {self.op_id} waits for a person to agree: do not act; ask again with the same op_id",
                reason=ErrorReason.AWAITING_APPROVAL,
                metadata={"op": self.op_id},
            )
        return prepared

    def _take_up(self, prepared: Prepared) -> None:
        self.approval, self.remaining = prepared.approval, prepared.remaining
        if self.approval and self.approval.amendment:
            self._args, self._has_looked = amended(self.op_id, self._args, self.approval), False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keep_back()  # another task or thread may be waiting for the permit still
        if not self._over and not isinstance(error, RunEnded):
            self._give_up(error)

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
        self._shield = Shield()

    def __enter__(self) -> Permit:
        permit = self._action._ask(self._question)
        self._shield.__enter__()  # from here to the settling no stop cuts it in half
        return permit

    def _question(self) -> Permit:
        """Ask with the digest of the arguments as they are now."""
        action = self._action
        if not action._has_looked:
            raise unseen(action.op_id)
        token = action._grant.to_act()
        try:
            return action._grant.tool.commit(
                token,
                action.op_id,
                digest(action._args),
                use_within=self._use_within,
                timeout=action._timeout,
            )
        except NOTHING_LEFT:
            action._over = True
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._action._leave(error)
        finally:
            self._shield.__exit__(kind, error, trace)
