"""A compensator in a process of its own that dies where it is told to: `python -m tests.e2e.undoer`.

    python -m tests.e2e.undoer TARGET SINK [DIE] [careless]

DIE is `claim` (before it), `claimed`, `acted` (after the effect) or `completed`; the first duty is its last
then, as by `kill -9`. Otherwise it works until it is killed. Whatever gets no answer it says again.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from countermand.v1 import undo_service_pb2 as pb
from countermand.v1 import undo_service_pb2_grpc as undo_grpc
from tests.support.messages import refusal_of, seconds
from tests.support.sidecar import CHANNEL_OPTIONS
from tests.support.sink import Sink

STEPS = ("claim", "claimed", "acted", "completed")

#: Short, so that what a crash leaves behind is free again soon.
LEASE = 0.5

#: What ends the talk about a duty: another has it, or it is over.
OVER = frozenset({"LEASE_LOST", "DUTY_OVER", "DUTY_UNKNOWN"})


class Undoer:
    """Claims, acts, and says so."""

    def __init__(self, target: str, sink: Sink, die: str = "") -> None:
        self._target, self._sink, self._die = target, sink, die
        self._connect()

    def _connect(self) -> None:
        self._channel = grpc.insecure_channel(self._target, options=CHANNEL_OPTIONS)
        self._stub = undo_grpc.UndoServiceStub(self._channel)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def work(self) -> bool:
        """Carry out one duty; False if there is none now."""
        self._at("claim")
        asked = pb.ClaimDutyRequest(worker=f"w-{os.getpid()}", compensations=["undo"], lease=seconds(LEASE))
        began = time.monotonic()
        answer = self._asked(lambda: self._stub.ClaimDuty(asked, timeout=5))
        if answer is None or not answer.HasField("duty"):
            return False
        duty = answer.duty
        self._at("claimed")
        if time.monotonic() - began >= duty.lease.ToTimedelta().total_seconds():
            return True  # too late to begin anything
        self._sink.act(duty.key)
        self._at("acted")
        done = pb.CompleteDutyRequest(
            run_id=duty.run_id, op_id=duty.op_id, kind=duty.kind, lease_id=duty.lease_id, receipt=duty.key
        )
        self._asked(lambda: self._stub.CompleteDuty(done, timeout=5))
        self._at("completed")
        return True

    def _asked(self, call: Callable[[], Any]) -> Any:
        """Ask until there is an answer, whoever dies meanwhile; None if it is no longer ours to ask."""
        while True:
            try:
                return call()
            except grpc.RpcError as error:
                reason = refusal_of(error).reason
                if reason in OVER:
                    return None
                assert reason in ("", "STORE_UNAVAILABLE", "TIMED_OUT", "DRAINING"), reason
            time.sleep(0.02)
            self._channel.close()  # a new life is found at once, not when gRPC next looks
            self._connect()

    def _at(self, step: str) -> None:
        if step == self._die:
            os.kill(os.getpid(), signal.SIGKILL)


def main(target: str, sink: str, die: str = "", careless: str = "") -> None:
    """Work until killed."""
    undoer = Undoer(target, Sink(Path(sink), careless=bool(careless)), die)
    while True:
        if not undoer.work():
            time.sleep(0.02)


if __name__ == "__main__":
    main(*sys.argv[1:])
