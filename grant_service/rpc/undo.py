"""UndoService: what a compensator may ask. It is given duties one at a time, each under a lease."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable

import structlog

from countermand.v1 import undo_service_pb2 as pb
from grant_service.core.action import Action, ActionState
from grant_service.core.duty import Duty, DutyKind
from grant_service.core.errors import ErrorReason, Refusal, Refused, StoreFailed, granted
from grant_service.core.store import Standing, Store
from grant_service.core.verbs import Claim, Claimed
from grant_service.rpc import encode
from grant_service.rpc.decode import ClaimAsked, Decoder
from grant_service.rpc.line import patience

_log = structlog.get_logger()

#: How many open duties of a kind are looked through at first, and at the most: others may have functions that
#: this caller has not.
_FIRST_LOOK, _LAST_LOOK, _GROWTH = 512, 32_768, 4

#: The order in which kinds are looked for, for each compensator in turn: what can still be stopped comes
#: first twice, and then waits for the others, so that no kind keeps another from being done.
_CALL_OFF, _UNDO, _ASK = DutyKind.CALL_OFF, DutyKind.UNDO, DutyKind.ASK
_TURNS = (
    *((_CALL_OFF, _UNDO, _ASK), (_CALL_OFF, _UNDO, _ASK)),
    *((_UNDO, _ASK, _CALL_OFF), (_ASK, _CALL_OFF, _UNDO)),
)

#: How many compensators' turns are remembered.
_MOST_TURNS = 1000

#: What an undo is claimed of; if nothing happened that is only to have it closed, should it be open still.
_KNOWN = frozenset({ActionState.SUCCEEDED, ActionState.FAILED})

#: Why a claim was refused that another compensator, or time, was quicker to: the next duty is tried.
_MISSED = frozenset({ErrorReason.DUTY_NOT_DUE, ErrorReason.DUTY_TAKEN, ErrorReason.DUTY_OVER})


class UndoServicer:
    """Hands out duties and takes in what became of them."""

    def __init__(self, store: Store, decode: Decoder, timeout: float) -> None:
        self._store, self._decode, self._timeout = store, decode, timeout
        self._turns = Counter[str]()

    async def ClaimDuty(self, request: pb.ClaimDutyRequest) -> pb.ClaimDutyResponse:
        """Give out the first duty that the store lets the caller have, if the caller still waits for one."""
        asked = self._decode.claim(request)
        async for duty in self._candidates(asked):
            if not patience(self._timeout):
                raise Refused(ErrorReason.TIMED_OUT)
            claimed = await self._claimed(asked.of(duty))
            if claimed is None or (isinstance(claimed, Refusal) and claimed.reason in _MISSED):
                continue
            duty_given = granted(claimed)
            self._take_turn(asked.worker)
            return pb.ClaimDutyResponse(duty=await self._duty(duty_given))
        return pb.ClaimDutyResponse()

    def _take_turn(self, worker: str) -> None:
        if len(self._turns) >= _MOST_TURNS:
            self._turns.clear()
        self._turns[worker] += 1

    async def _claimed(self, command: Claim) -> Claimed | Refusal | None:
        """Claim; None for a duty about which nothing can be decided: it must not keep the others waiting."""
        try:
            return await self._store.claim(command)
        except StoreFailed as failed:
            if failed.refusal.reason is not ErrorReason.INTERNAL:
                raise
            _log.error("claim failed", run=command.run_id, op=command.op_id, exc_info=failed)
            return None

    async def _candidates(self, asked: ClaimAsked) -> AsyncIterator[Duty]:
        """Find what may be due, the most urgent first. Only the store's own answer to a claim decides."""
        for kind in _TURNS[self._turns[asked.worker] % len(_TURNS)]:
            names = asked.names[kind]
            if not names:
                continue
            async for duties in self._looks(kind):
                standing = await self._store.standing()
                free = [one for one in duties if one.name in names and one.is_free(standing.now)]
                if kind is DutyKind.UNDO:
                    free = await self._to_be_undone(free, standing)
                for duty in free:
                    yield duty

    async def _looks(self, kind: DutyKind) -> AsyncIterator[list[Duty]]:
        """Look at more and more open duties of a kind, each once, until there are no more, or no time."""
        seen, limit = 0, _FIRST_LOOK
        while limit <= _LAST_LOOK:
            began = patience(self._timeout)
            duties = await self._store.open_duties(kind, limit)
            if duties[seen:]:
                yield duties[seen:]
            if len(duties) < limit:
                return
            left = patience(self._timeout)
            if left <= _GROWTH * (began - left):  # what the next look will take
                break
            seen, limit = limit, limit * _GROWTH
        _log.warning("not all looked through", duty=kind.value, looked=limit)

    async def _to_be_undone(self, duties: list[Duty], standing: Standing) -> list[Duty]:
        """Leave out what nobody can undo now, not being known to have happened: it may be very many."""
        asked = [(one.run_id, one.op_id) for one in duties]
        actions = await self._store.actions(asked) if asked else []
        return [
            one
            for one, action in zip(duties, actions, strict=True)
            if standing.now >= one.until  # to be told that it is over
            or (one.epoch == standing.epoch and action and action.state in _KNOWN)
        ]

    async def _duty(self, claimed: Claimed) -> pb.Duty:
        duty = claimed.duty
        (action,) = await self._store.actions([(duty.run_id, duty.op_id)])
        return pb.Duty(
            run_id=duty.run_id,
            op_id=duty.op_id,
            kind=pb.DutyKind.Value(f"DUTY_KIND_{duty.kind}"),
            name=duty.name,
            key=f"{duty.run_id}/{duty.op_id}/{duty.which}",
            action=action.intent.action if action else "",
            resource=action.intent.resource if action else "",
            args=_args(action),
            handle=duty.handle or (action.handles[-1] if action and action.handles else ""),
            attempt=duty.attempts,
            lease_id=duty.lease,
            lease=encode.duration(claimed.left_ms),
            until_time=encode.moment(duty.until),
            job=duty.job,
        )

    async def RenewDuty(self, request: pb.RenewDutyRequest) -> pb.RenewDutyResponse:
        """Keep a duty for longer."""
        renewed = granted(await self._store.renew(self._decode.renew(request)))
        return pb.RenewDutyResponse(lease=encode.duration(renewed.left_ms))

    async def CompleteDuty(self, request: pb.CompleteDutyRequest) -> pb.CompleteDutyResponse:
        """Record that a duty is carried out."""
        completed = granted(await self._store.complete(self._decode.complete(request)))
        state = pb.DutyState.Value(f"DUTY_STATE_{completed.state}")
        return pb.CompleteDutyResponse(state=state, seq=completed.seq, replayed=completed.replayed)

    async def FailDuty(self, request: pb.FailDutyRequest) -> pb.FailDutyResponse:
        """Record that an attempt did not work."""
        failed = granted(await self._store.fail(self._decode.fail(request)))
        state = pb.DutyState.Value(f"DUTY_STATE_{failed.state}")
        due_time = encode.moment(failed.due)
        return pb.FailDutyResponse(state=state, due_time=due_time, seq=failed.seq, replayed=failed.replayed)


def _args(action: Action | None) -> str:
    """Join what prepare said and what the result added; the result knows better."""
    told: Iterable[str] = (action.intent.compensation_args, action.result_args) if action else ()
    joined: dict[str, object] = {}
    for one in told:
        joined |= json.loads(one) if one else {}
    return json.dumps(joined, separators=(",", ":"))  # ASCII: half a letter is JSON, and no text of a message
