"""One action under its grant: its permit, and the word that is left about it."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from countermand._approval import Waiting
from countermand._async.grant import CurrentGrant
from countermand._effect import Plan, Told, Word
from countermand._errors import (
    AlreadyPermitted,
    AuthorityEnded,
    CountermandError,
    NotSent,
    PermitLapsed,
    TryAgain,
)
from countermand._models.actions import Permit, Settled
from countermand._models.approvals import Approval
from countermand._text import kind_of
from countermand._words import ActionState, Outcome
from countermand._world import log

#: True whenever it is put on record: a permit is either handed to the tool or given up, never both.
_NOT_REACHED = "the permit did not reach the tool"


class Effect:
    """What `action` and `perform` have in common."""

    def __init__(self, grant: CurrentGrant, plan: Plan) -> None:
        self.intent = plan.intent
        #: What a person agreed to, if one had to.
        self.approval: Approval | None = None
        #: What is left in each budget that applies, as of the last answer.
        self.remaining: Mapping[str, int] = {}
        #: The permit, once there is one.
        self.permit: Permit | None = None
        #: What was put on record when the block was left.
        self.settled: Settled | None = None
        #: Why nothing could be put on record, if so. The report then calls the action unknown.
        self.unsettled: CountermandError | None = None
        self._grant = grant
        self._finish = grant.client.background.finish
        self._timeout = plan.timeout
        self._args, self._has_looked = plan.args, True
        self._waiting = Waiting(self.op_id, plan.approval_timeout, grant.client.pacing)
        self._word = Word()
        # Under an op_id made here nobody else can have asked; under one that was given, somebody may have.
        self._ours = plan.own_op_id
        self._asked = False
        # What is said of an effect whose permit another task or thread is about to get must stay true. So
        # the permit is handed over, or given up for good, under this lock; it is never held across a wait.
        self._deciding = threading.Lock()
        self._asking = False
        self._given_up = False
        self._over = False

    @property
    def op_id(self) -> str:
        """The name of this one intended effect within its run, for ever."""
        return self.intent.op_id

    @property
    def args(self) -> Mapping[str, object]:
        """The arguments the permit is for; they are digested again at the commit.

        Where a person agreed to narrower ones, it is those: act with them and not with the ones given.
        """
        self._has_looked = True
        return self._args

    @property
    def receipt(self) -> object:
        """The outside world's own id of the effect, such as a message id. Set it inside the block."""
        return self._word.receipt

    @receipt.setter
    def receipt(self, receipt: object) -> None:
        self._word.receipt = receipt

    def undo_with(self, /, **args: object) -> None:
        """Say what only the result told the compensation needs; added to the `compensation_args`.

        Call it inside the block, as soon as it is known: it is put on record with the outcome.
        """
        self._word.add(args)

    def accepted(self, *, handle: object, canceller: str = "") -> None:
        """Say that the outside world has only accepted the effect, as a job that it calls `handle`.

        Should the run be cancelled, the `canceller` is asked to call that job off. It has to be named here,
        unless the sidecar's tools file does. Say it for each job, if there are several.
        """
        self._word.accept(handle, canceller)

    def failed(self, note: str = "") -> None:
        """Say that it certainly did not happen, however the block is left."""
        self._word.outcome, self._word.note = Outcome.FAILED, note

    def unknown(self, note: str = "") -> None:
        """Say that nobody can tell whether it happened, however the block is left."""
        self._word.outcome, self._word.note = Outcome.UNKNOWN, note

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.intent.action} {self.op_id}>"

    async def _ask(self, question: Callable[[], Any]) -> Permit:
        """Ask for the permit, and take it only if it is this call's own and can still be used."""
        asked_before = self._begin()
        try:
            return await self._take(question, asked_before)
        finally:
            self._asking = False

    def _begin(self) -> bool:
        """Let one ask at a time, whoever comes second is refused; answer whether it was asked before."""
        with self._deciding:
            if self.permit is not None:
                raise self._doubt("had its permit, which is for one effect; intend a new action")
            if self._given_up:
                raise self._doubt("was given up when its block was left: do not act; intend a new action")
            if self._asking:
                raise self._doubt("is asking for its permit, which is for one effect; intend a new action")
            self._asking = True
            asked_before, self._asked = self._asked, True
            return asked_before

    async def _take(self, question: Callable[[], Any], asked_before: bool) -> Permit:
        try:
            permit: Permit = await question()
        except AuthorityEnded as ended:
            if self._ours and ended.prior_decision is ActionState.PERMITTED:
                await self._not_started(_NOT_REACHED)
            raise
        except AlreadyPermitted as given:
            if self._ours:  # nobody else can have asked: an earlier answer was lost, and the permit lapsed
                raise await self._lapsed() from given
            raise
        self._over = True
        if permit.replayed and not (self._ours and (asked_before or permit.asked_before)):
            raise self._doubt("got its permit in another attempt, its effect may have happened: do not act")
        if permit.remaining <= 0:
            raise await self._lapsed()
        if not self._hand_over(permit):
            await self._not_started(_NOT_REACHED)
            raise self._doubt("was given up when its block was left, before its permit came: do not act")
        return permit

    def _hand_over(self, permit: Permit) -> bool:
        """Let the tool have the permit, unless it was given up meanwhile."""
        with self._deciding:
            if not self._given_up:
                self.permit, self.remaining = permit, permit.remaining_budgets
            return not self._given_up

    def _keep_back(self) -> bool:
        """Hand over no permit from now on. Answers whether none was: then the body never runs."""
        with self._deciding:
            self._given_up = True
            return self.permit is None

    def _doubt(self, what: str) -> AlreadyPermitted:
        return AlreadyPermitted(f"action {self.op_id} {what}", metadata={"op": self.op_id})

    async def _lapsed(self) -> PermitLapsed:
        await self._not_started("permit lapsed before the tool started")
        return PermitLapsed(
            f"the permit of action {self.op_id} lapsed before the tool could start: it did not happen; "
            "do it again as a new action",
            metadata={"op": self.op_id},
        )

    async def _not_started(self, note: str) -> None:
        """Put on record that an action which has its permit did not happen, because its body did not run."""
        await self._finish(self._settle, Told(Outcome.FAILED, note), None)

    async def _leave(self, error: BaseException | None) -> None:
        """Put on record what became of it. Never raises: the tool's own exception is the one to see."""
        if self._word.outcome is None and isinstance(error, NotSent) and not self._is_about_this(error):
            self.unknown("left by NotSent, raised for another action")
        await self._finish(self._settle, self._word.last(error), None)
        if self.unsettled is not None and error is not None:
            error.add_note(
                f"countermand: the outcome of action {self.op_id} is not on record: {self.unsettled}"
            )

    def _is_about_this(self, error: NotSent) -> bool:
        """Say whether it was raised here; one that left another action's block before speaks of that one."""
        here = (self.op_id, id(self))  # an op_id alone is for one run only, and blocks of two may be nested
        return bool(vars(error).setdefault("_raised_for", here) == here)

    async def _settle(self, told: Told, timeout: float | None) -> None:
        """Tell the sidecar, within a deadline of its own."""
        try:
            token = await self._grant.token()
            for handle, canceller in (told.jobs or {"": ""}).items():  # a call names one job
                self.settled = await self._grant.tool.settle(
                    token,
                    self.op_id,
                    told.outcome,
                    receipt=told.receipt,
                    note=told.note,
                    compensation_args=told.undo_with,
                    handle=handle,
                    canceller=canceller,
                    timeout=timeout,
                )
                self.remaining = self.settled.remaining
                if why_not := self.settled.why_not_called_off:
                    log.warning("nobody can call off job %s of action %s: %s", handle, self.op_id, why_not)
        except CountermandError as error:
            self.unsettled = error
            log.warning("the outcome %s of action %s is not on record: %s", told.outcome, self.op_id, error)

    async def _give_up(self, error: BaseException | None) -> None:
        """Leave nothing behind of an action whose body did not run; whoever has its permit settles it."""
        if not self._keep_back():
            return
        note = f"left by {kind_of(error)}" if error else ""
        # A sidecar that just did not answer gets one short chance: the next caller should not have to wait.
        await self._finish(self._abandon, note, 0.2 if isinstance(error, TryAgain) else None)

    async def _abandon(self, note: str, timeout: float | None) -> None:
        try:
            token = await self._grant.token()
            abandoned = await self._grant.tool.abandon(token, self.op_id, note=note, timeout=timeout)
            self.remaining = abandoned.remaining
        except AlreadyPermitted as permitted:
            if self._ours and self._asked:  # then it is our own permit: lost, or kept back when it comes
                await self._settle(Told(Outcome.FAILED, _NOT_REACHED), timeout)
            else:
                log.info("action %s is another attempt's: %s", self.op_id, permitted)
        except CountermandError as failure:
            log.info("action %s could not be abandoned: %s", self.op_id, failure)
