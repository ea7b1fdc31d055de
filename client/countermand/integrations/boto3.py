"""Writes over boto3 only under a permit: `s3 = permit_client(boto3.client("s3"))`.

with run.grant(scopes=["aws.s3.put_object https://*.s3.eu-central-1.amazonaws.com/*"]):
    s3.put_object(Bucket="reports", Key="2026/11.csv", Body=table)
"""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from threading import get_ident
from typing import Any, TypeVar

from botocore import xform_name
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError

import countermand.sync
from countermand._errors import FixTheCall
from countermand.integrations._http import aws
from countermand.integrations._http.call import Call, text
from countermand.integrations._http.sending import FENCE, Answer, Mapper, Rules, Sending, Settler, Write

__all__ = ["Answer", "Call", "Write", "permit_client"]

C = TypeVar("C")

#: What botocore raises only where nothing was sent. ProxyConnectionError is not of these: it is raised, too,
#: where a proxy took in the request and hung up.
_UNSENT = (ConnectTimeoutError, EndpointConnectionError)
#: What an answer to a batch names so, if it is not empty, was not done.
_FAILED_IN_PART = frozenset(
    ["Errors", "Failed", "FailedEntryCount", "FailedPutCount", "FailedRecordCount", "UnprocessedItems"]
)
#: Where a call's context, which its attempts share, holds what is ours.
_HERE, _KEY = "countermand", "countermand-key"


def permit_client(
    client: C,
    *,
    action: Mapper | None = None,
    reads: bool = False,
    settle: Settler | None = None,
    also_reads: Iterable[str] = (),
) -> C:
    """Let this client write only under permits, one for each attempt that it makes. Answers the same client.

    What is a read is in a table; every other operation is a write. `also_reads` adds operations of which you
    know that they change nothing, such as `ec2.DescribeInstances`. `action` answers what `perform` is to be
    told of a request; `reads=True` asks for reads, too; `settle` gets the action and the answer, and may say
    more of what became of it.
    """
    gate = _Gate(Rules(action=action, reads=reads, settle=settle), aws.READS | frozenset(also_reads))
    events: Any = client.meta.events  # type: ignore[attr-defined]
    events.register_last("before-sign", gate.before_sign)
    events.register_last("before-send", gate.before_send)
    events.register_first("response-received", gate.response_received)
    events.register_first("after-call-error", gate.after_call_error)
    return client


class _Gate:
    """Stands at the four events of each attempt: about to be signed, signed, answered, or failed."""

    def __init__(self, rules: Rules, reads: frozenset[str]) -> None:
        self._rules, self._reads = rules, reads
        #: Who is under way, by its thread and the number of its permit: the request that is sent has nothing
        #: else of ours, and two stores count their permits each from one.
        self._under_way: dict[tuple[int, str], Sending] = {}

    def before_sign(self, request: Any, event_name: str, **_: Any) -> None:
        """Ask, and add what the permit adds: after the signature nothing may be added."""
        operation = event_name.partition(".")[2]
        if request.context.get("is_presign_request"):  # nothing is sent
            return
        sending = self._sending(request, operation)
        if sending is None:
            return
        if _HERE in request.context:
            raise FixTheCall(f"{operation} passes permit_client twice: call it once for each client")
        open_ = ExitStack()
        act = open_.enter_context(countermand.sync.perform(**sending.told))
        open_.enter_context(sending.under(act, _UNSENT))
        sending.watched = True  # until it is sent nothing has happened
        request.context[_HERE] = sending, act, open_
        key = request.context.setdefault(_KEY, act.op_id)
        for name, value in sending.headers(key).items():
            del request.headers[name]
            request.headers[name] = value
        self._under_way[get_ident(), sending.fence] = sending

    def _sending(self, request: Any, operation: str) -> Sending | None:
        service, _, name = operation.partition(".")
        call = Call.of(request.method, request.url, request.headers.items(), request.body, operation)
        return self._rules.sending(call, operation in self._reads, f"aws.{service}.{xform_name(name)}")

    def before_send(self, request: Any, event_name: str, **_: Any) -> None:
        """Look a last time. From here on what was not sent is told by its error."""
        operation = event_name.partition(".")[2]
        sending = self._under_way.get((get_ident(), text(request.headers.get(FENCE, ""))))
        if sending is not None:
            sending.look()
            sending.watched = False
        elif self._rules.reads or operation not in self._reads:
            raise FixTheCall(
                f"{operation} was about to be sent without having been signed under a permit: do not act; "
                "put permit_client before whatever sends requests of its own"
            )

    def response_received(
        self,
        response_dict: Mapping[str, Any] | None,
        parsed_response: Mapping[str, Any] | None,
        exception: Exception | None,
        context: dict[str, Any],
        **_: Any,
    ) -> None:
        """Settle the attempt by its answer, or by what it failed with."""
        sending, act, open_ = self._over(context)
        if exception is not None:
            open_.__exit__(type(exception), exception, exception.__traceback__)
            return
        with open_:
            if sending is not None and response_dict is not None and parsed_response is not None:
                told = parsed_response["ResponseMetadata"]  # it knows of an error that came with a 200
                sending.answered(told.get("HTTPStatusCode", 0), response_dict["headers"])
                if any(parsed_response.get(name) for name in _FAILED_IN_PART):
                    act.unknown("done in part: some of what was asked for failed")

    def after_call_error(self, exception: Exception, context: dict[str, Any], **_: Any) -> None:
        """Settle an attempt that failed before it was sent, or whose answer could not be read."""
        open_ = self._over(context)[2]
        open_.__exit__(type(exception), exception, exception.__traceback__)

    def _over(self, context: dict[str, Any]) -> tuple[Sending | None, Any, ExitStack]:
        sending, act, open_ = context.pop(_HERE, None) or (None, None, ExitStack())
        if sending is not None:
            self._under_way.pop((get_ident(), sending.fence), None)
        return sending, act, open_
