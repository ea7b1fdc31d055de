"""ControlService: what an operator may ask."""

import asyncio

from countermand.v1 import control_service_pb2 as pb
from grant_service.core.compile import compile_report
from grant_service.core.errors import ErrorReason, Refused, granted
from grant_service.core.store import Store
from grant_service.core.verbs import Cancelled
from grant_service.rpc.decode import Decoder
from grant_service.rpc.journal import report_message


class ControlServicer:
    """Stops runs."""

    def __init__(self, store: Store, decode: Decoder, timeout: float) -> None:
        self._store, self._decode = store, decode
        # Less than the whole call has: the answer that the run is stopped must still get out.
        self._patience = 0.8 * timeout

    async def CancelRun(self, request: pb.CancelRunRequest) -> pb.CancelRunResponse:
        """Stop first, then compile the report: nothing accepted before the cut can be missing from it."""
        cancelled = await self._store.cancel(self._decode.cancel(request))
        try:
            async with asyncio.timeout(self._patience):
                report = await report_message(granted(await compile_report(self._store, cancelled.run_id)))
        except Refused as unread:
            raise _stopped_but(unread, cancelled) from unread
        except TimeoutError as late:
            cause = f"it took longer than {self._patience:g} s"
            raise _stopped_but(Refused(ErrorReason.STORE_UNAVAILABLE, cause=cause), cancelled) from late
        except Exception as defect:
            raise _stopped_but(Refused(ErrorReason.INTERNAL), cancelled) from defect
        return pb.CancelRunResponse(report=report, replayed=cancelled.replayed, known=cancelled.known)


def _stopped_but(unread: Refused, cancelled: Cancelled) -> Refused:
    """Refuse the report, and still tell that the run is stopped: the two must not be confused."""
    details = dict(unread.refusal.details, run=cancelled.run_id, seq=str(cancelled.seq))
    stopped = f"run {cancelled.run_id} is {cancelled.state.lower()} since entry {cancelled.seq}"
    details["cause"] = f"{stopped}, only its report could not be read: {details.get('cause', 'no answer')}"
    return Refused(unread.refusal.reason, **details)
