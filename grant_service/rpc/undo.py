"""UndoService: what a compensator may ask. It is given duties one at a time, each under a lease."""

import json
from collections.abc import AsyncIterator, Iterable

from countermand.v1 import undo_service_pb2 as pb
from grant_service.core.action import Action
from grant_service.core.duty import Duty, DutyKind
from grant_service.core.errors import ErrorReason, Refusal, granted
from grant_service.core.run import RunState
from grant_service.core.store import Store
from grant_service.core.verbs import Claimed
from grant_service.rpc import encode
from grant_service.rpc.decode import ClaimAsked, Decoder

#: How many open duties of a kind are looked through for one claim.
_MOST_LOOKED_AT = 1000

#: Why a claim was refused that another compensator, or time, was quicker to: the next duty is tried.
_MISSED = frozenset({ErrorReason.DUTY_NOT_DUE, ErrorReason.DUTY_TAKEN, ErrorReason.DUTY_OVER})


class UndoServicer:
    """Hands out duties and takes in what became of them."""

    def __init__(self, store: Store, decode: Decoder) -> None:
        self._store, self._decode = store, decode

    async def ClaimDuty(self, request: pb.ClaimDutyRequest) -> pb.ClaimDutyResponse:
        """Give out the first duty that the store lets the caller have."""
        asked = self._decode.claim(request)
        async for duty in self._candidates(asked):
            claimed = await self._store.claim(asked.of(duty))
            if isinstance(claimed, Refusal) and claimed.reason in _MISSED:
                continue
            return pb.ClaimDutyResponse(duty=await self._duty(granted(claimed)))
        return pb.ClaimDutyResponse()

    async def _candidates(self, asked: ClaimAsked) -> AsyncIterator[Duty]:
        """Find what may be due, the most urgent first. Only the store's own answer to a claim decides."""
        for kind, names in asked.names.items():
            if not names:
                continue
            duties = await self._store.open_duties(kind, _MOST_LOOKED_AT)
            wanted = [one for one in duties if one.name in names]
            now = (await self._store.standing()).now if wanted else 0
            free = [one for one in wanted if one.due <= now and one.lease_until <= now]
            for duty in await self._of_stopped_runs(free) if kind is DutyKind.CALL_OFF else free:
                yield duty

    async def _of_stopped_runs(self, duties: list[Duty]) -> list[Duty]:
        """Leave out what belongs to runs that go on: most of what can be called off does."""
        ids = list(dict.fromkeys(one.run_id for one in duties))
        runs = dict(zip(ids, await self._store.runs(ids), strict=True))
        links = list(dict.fromkeys(link for run in runs.values() if run for link in run.ancestors))
        runs |= dict(zip(links, await self._store.runs(links), strict=True))
        now = (await self._store.standing()).now

        def may_be_stopped(link: str) -> bool:
            run = runs.get(link)
            return run is None or run.state is RunState.CANCELLED or now >= run.deadline

        stopped = {one for one, run in runs.items() if any(map(may_be_stopped, run.path if run else [one]))}
        return [one for one in duties if one.run_id in stopped]

    async def _duty(self, claimed: Claimed) -> pb.Duty:
        duty = claimed.duty
        (action,) = await self._store.actions([(duty.run_id, duty.op_id)])
        return pb.Duty(
            run_id=duty.run_id,
            op_id=duty.op_id,
            kind=pb.DutyKind.Value(f"DUTY_KIND_{duty.kind}"),
            name=duty.name,
            key=f"{duty.run_id}/{duty.op_id}/{duty.kind}",
            action=action.intent.action if action else "",
            resource=action.intent.resource if action else "",
            args=_args(action),
            handle=action.handle if action else "",
            attempt=duty.attempts,
            lease_id=duty.lease,
            lease=encode.duration(claimed.left_ms),
            until_time=encode.moment(duty.until),
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
        return pb.FailDutyResponse(state=state, due_time=encode.moment(failed.due), seq=failed.seq)


def _args(action: Action | None) -> str:
    """Join what prepare said and what the result added; the result knows better."""
    told: Iterable[str] = (action.intent.compensation_args, action.result_args) if action else ()
    joined: dict[str, object] = {}
    for one in told:
        joined |= json.loads(one) if one else {}
    return json.dumps(joined, ensure_ascii=False, separators=(",", ":"))
