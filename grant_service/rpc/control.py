"""ControlService: what an operator may ask."""

from countermand.v1 import control_service_pb2 as pb
from grant_service.core.compile import compile_report
from grant_service.core.errors import granted
from grant_service.core.store import Store
from grant_service.rpc.decode import Decoder
from grant_service.rpc.journal import report_message


class ControlServicer:
    """Stops runs."""

    def __init__(self, store: Store, decode: Decoder) -> None:
        self._store, self._decode = store, decode

    async def CancelRun(self, request: pb.CancelRunRequest) -> pb.CancelRunResponse:
        """Stop first, then compile the report: nothing accepted before the cut can be missing from it."""
        command = self._decode.cancel(request)
        cancelled = await self._store.cancel(command)
        report = granted(await compile_report(self._store, command.run_id))
        return pb.CancelRunResponse(
            report=report_message(report), replayed=cancelled.replayed, known=cancelled.known
        )
