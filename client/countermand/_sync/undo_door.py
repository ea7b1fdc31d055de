# Derived from client/countermand/_async/undo_door.py by scripts/unasync.py. Do not edit.
"""The compensator's verbs: small frozen values in and out, one call each."""

from collections.abc import Iterable
from typing import Any

from countermand import _rpcs as rpcs
from countermand import _wire as wire
from countermand._models.duties import Duty, DutyCompleted, DutyFailed
from countermand._span import Span, duration
from countermand._sync.door import Door
from countermand._words import DutyState, Outcome
from countermand.v1 import undo_service_pb2 as undo


class Compensating(Door):
    """What those may ask who carry out duties: one at a time, each under a lease."""

    def claim(
        self,
        *,
        compensations: Iterable[str] = (),
        cancellers: Iterable[str] = (),
        probes: Iterable[str] = (),
        worker: str = "",
        lease: Span | None = None,
        timeout: float | None = None,
    ) -> Duty | None:
        """Take a duty that one of these functions can carry out; None if there is none now.

        Each claim is an attempt. Begin nothing once the lease is over.
        """
        request = undo.ClaimDutyRequest(
            worker=worker,
            compensations=compensations,
            cancellers=cancellers,
            probes=probes,
            lease=duration(lease),
        )
        answer = self._call(rpcs.CLAIM_DUTY, request, timeout)
        if not answer.message.HasField("duty"):
            return None
        return wire.duty(answer.message.duty, answer.sent_at, self.clock)

    def renew(self, duty: Duty, *, lease: Span | None = None, timeout: float | None = None) -> float:
        """Keep a duty for longer; answer when its lease ends now, by this client's clock."""
        request = undo.RenewDutyRequest(lease=duration(lease), **_which(duty))
        answer = self._call(rpcs.RENEW_DUTY, request, timeout)
        return answer.sent_at + answer.message.lease.ToMicroseconds() / 1e6

    def complete(
        self,
        duty: Duty,
        *,
        receipt: str = "",
        note: str = "",
        refused: bool = False,
        outcome: Outcome | str = Outcome.UNSPECIFIED,
        timeout: float | None = None,
    ) -> DutyCompleted:
        """Tell that a duty is carried out. Nothing but the loss of the claim refuses it.

        A CALL_OFF that the outside world says no to is `refused`. An ASK has an `outcome`, and the note is
        how the probe knows.
        """
        request = undo.CompleteDutyRequest(
            receipt=receipt,
            note=note,
            refused=refused,
            outcome=wire.number(Outcome(outcome)),
            **_which(duty),
        )
        told = (self._call(rpcs.COMPLETE_DUTY, request, timeout)).message
        return DutyCompleted(wire.word(DutyState, told.state), told.seq, told.replayed)

    def fail(
        self, duty: Duty, *, note: str = "", final: bool = False, timeout: float | None = None
    ) -> DutyFailed:
        """Tell that an attempt did not work, and that no further one will if that is `final`.

        Told again, because the answer was lost, it is answered the same.
        """
        request = undo.FailDutyRequest(note=note, final=final, **_which(duty))
        told = (self._call(rpcs.FAIL_DUTY, request, timeout)).message
        due_time = wire.time(told, "due_time")
        return DutyFailed(wire.word(DutyState, told.state), due_time, told.seq, told.replayed)


def _which(duty: Duty) -> dict[str, Any]:
    """Name the duty, and the claim."""
    return {
        "run_id": duty.run_id,
        "op_id": duty.op_id,
        "kind": wire.number(duty.kind),
        "lease_id": duty.lease.lease_id,
        "job": duty.job,
    }
