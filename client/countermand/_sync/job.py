# Derived from client/countermand/_async/job.py by scripts/unasync.py. Do not edit.
"""Queued work: a job is enqueued under one permit, and carried out, elsewhere and later, under another."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from countermand._errors import AlreadySettled, FixTheCall, Stopped, TryAgain
from countermand._job import ENQUEUE, Body, JobCall, op_name, ungranted
from countermand._secret import SecretToken
from countermand._sync.action import action
from countermand._sync.client import Client, connect
from countermand._sync.effect import Effect
from countermand._sync.grant import CurrentGrant, current_grant
from countermand._sync.perform import perform
from countermand._tool import refuse_work_to_do
from countermand._words import ActionState
from countermand._world import World
from countermand.work.blocking import scope

T = TypeVar("T")

_clients: dict[object, Client] = {}


def own_client() -> Client:
    """Answer the client of this worker, which finds its sidecar as `connect()` does.

    One for each event loop, or process: no connection survives a fork.
    """
    place = World.place()
    return _clients.get(place) or _clients.setdefault(place, connect())


@contextmanager
def enqueueing(call: JobCall, place: str, job_id: str) -> Iterator[tuple[Effect, str]]:
    """Let a job be enqueued within the block, which is an action; yields that, and what the job acts by.

    Nothing is enqueued for which there is no permit, or that the current grant could not do itself. It is on
    record before the job's grant is asked for, so that one who comes after a stop is in the report.
    """
    call.intended()
    told = {"job": job_id, "action": call.declared.name, "resource": call.intent["resource"]}
    with action(ENQUEUE, resource=place, args=told) as act:
        token = _narrowed(call)
        with act.commit():
            act.receipt = job_id
            yield act, token.reveal()


def _narrowed(call: JobCall) -> SecretToken:
    """Get a grant for this one job: whoever steals it can do what the job does, and no more."""
    grant, told = current_grant(), call.declared.options
    ttl, sealed = told.get("ttl"), told.get("sealed", True)
    if not told.get("issued"):
        return grant.delegate(scopes=call.scopes, ttl=ttl, sealed=sealed).token()
    if not grant.run_id:
        raise FixTheCall("a grant that came as a token names no run: only the owner of a run issues for it")
    issued = grant.client.issuer.issue(grant.run_id, scopes=call.scopes, ttl=ttl, sealed=sealed)
    return issued.token


class Delivery:
    """One delivery of a job to a worker: carried out if its run says so, at this moment."""

    def __init__(self, call: JobCall, queue: str, job_id: str, token: str | None) -> None:
        self._call, self._job_id, self._token = call, job_id, token
        self._op_name = op_name(queue, job_id)
        self._attempt = 0
        self._act: Effect | None = None

    def carry_out(self, body: Body[T]) -> T:
        """Run the body under the job's grant, once: however often the queue delivers the job.

        Each attempt is an action. The next one is asked for only if the one before is on record as having
        done nothing; a redelivery of one that may have done something is refused with what is known of it.
        """
        if not self._token:
            raise ungranted(self._call.declared.name, self._job_id)
        with own_client().use_token(self._token, extend=self._call.declared.options.get("extend")) as grant:
            for self._attempt in itertools.count():
                op_id = f"{self._op_name}-{self._attempt}"
                act = self._act = perform(op_id=op_id, **self._call.intent, **self._call.waits)
                try:
                    with act:
                        return self._inside(act, grant, body)
                except AlreadySettled as settled:
                    if act.permit or settled.metadata.get("state") != ActionState.FAILED:
                        raise
        raise AssertionError("it counts for ever")

    def _inside(self, act: Effect, grant: CurrentGrant, body: Body[T]) -> T:
        """Run the body so that a stop of its run reaches it; one that came too late changes nothing."""
        results: list[T] = []
        try:
            with scope(self._call.declared.name, source=grant):
                results.append(body())
        except Stopped:
            if not results:
                raise
        result = results[0]
        refuse_work_to_do(self._call.function, result, act)
        self._call.declared.result.tell(result, act)
        return result

    def may_come_again(self, error: BaseException, retries: int) -> bool:
        """Say whether the queue may deliver the job again, after so many times that it did.

        Yes, for a while, if nothing was decided; and if it was carried out and certainly did nothing. What
        was refused would be refused again, and what may have happened must not happen twice.
        """
        act = self._act
        if act is None or act.permit is None:
            return isinstance(error, TryAgain) and retries < self._call.declared.retries
        did_nothing = act.settled is not None and act.settled.state is ActionState.FAILED
        return did_nothing and self._attempt + 1 < self._call.declared.attempts
