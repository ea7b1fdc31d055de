"""ControlService: what an operator may ask."""

from countermand.v1 import control_service_pb2 as pb
from grant_service.core.compile import compile_report
from grant_service.core.errors import Refused, granted
from grant_service.core.store import Store
from grant_service.core.verbs import Cancelled
from grant_service.rpc.decode import Decoder
from grant_service.rpc.journal import report_message


class ControlServicer:
    """Stops runs."""

    def __init__(self, store: Store, decode: Decoder) -> None:
        self._store, self._decode = store, decode

    async def CancelRun(self, request: pb.CancelRunRequest) -> pb.CancelRunResponse:
        """Stop first, then compile the report: nothing accepted before the cut can be missing from it."""
        cancelled = await self._store.cancel(self._decode.cancel(request))
        try:
            report = report_message(granted(await compile_report(self._store, cancelled.run_id)))
        except Refused as unread:
            raise _stopped_but(unread, cancelled) from unread
        return pb.CancelRunResponse(report=report, replayed=cancelled.replayed, known=cancelled.known)


def _stopped_but(unread: Refused, cancelled: Cancelled) -> Refused:
    """Refuse the report, and still tell that the run is stopped: the two must not be confused."""
    details = dict(unread.refusal.details, run=cancelled.run_id, seq=str(cancelled.seq))
    stopped = f"run {cancelled.run_id} is {cancelled.state.lower()} since entry {cancelled.seq}"
    details["cause"] = f"{stopped}, only its report could not be read: {details.get('cause', 'no answer')}"
    return Refused(unread.refusal.reason, **details)
