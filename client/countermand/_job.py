"""What a queued job does, what it may be done under, and what its queue may do with it afterwards."""

import hashlib
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar, Unpack

from countermand._approval import APPROVAL_TIMEOUT
from countermand._errors import FixTheCall, NoGrant
from countermand._models.actions import Intent
from countermand._scope import Scope, scopes_of
from countermand._span import Span
from countermand._tool import Call, Result
from countermand._words import Reversibility

#: The action that putting a job in a queue is; its resource is `QUEUE:NAME/TASK`.
ENQUEUE = "queue.enqueue"
#: Under this name the grant travels with its job. Whoever reads it can act by it.
CARRIED = "countermand_grant"

T = TypeVar("T")
#: What a job does, on an event loop or blocking.
AsyncBody = Callable[[], Awaitable[T]]
Body = Callable[[], T]

_FITS = re.compile(r"[A-Za-z0-9._-]{1,48}")
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class JobOptions(TypedDict, total=False):
    """What `granted` takes beside the name of the action."""

    #: What it acts on, what the permit is for, and so on: as for `countermand.tool`.
    resource: str | Callable[..., str]
    args: Callable[..., Mapping[str, object]]
    receipt: Callable[[Any], object]
    reversibility: Reversibility
    compensation: str
    compensation_args: Mapping[str, object] | Callable[..., Mapping[str, object]]
    undo_with: Callable[[Any], Mapping[str, object]]
    probe: str
    costs: Mapping[str, int] | Callable[..., Mapping[str, int]]
    summary: str | Callable[..., str]
    use_within: Span
    approval_timeout: Span | None
    timeout: float
    #: How often it may be carried out in all: once, and again after each time that certainly did nothing.
    attempts: int
    #: How often the queue tries again, with growing pauses, while no sidecar decides.
    retries: int
    #: How long its grant lasts from when it is enqueued.
    ttl: Span
    #: Have the worker extend it, to last so long from when it takes up the job. It needs the issuer's socket.
    extend: Span
    #: What it may do beside its own action, such as what it enqueues in its turn.
    scopes: Iterable[Scope | str]
    #: Whether it may hand nothing on. Yes unless told otherwise.
    sealed: bool
    #: Issue its grant as the owner of the run, not out of the current grant: it may outlast that.
    issued: bool


@dataclass(frozen=True, slots=True)
class Declared:
    """A kind of job: its action, and how it is carried out."""

    name: str
    options: JobOptions

    @classmethod
    def of(cls, name: str, **options: Unpack[JobOptions]) -> "Declared":
        """Take it as its author writes it."""
        unknown = options.keys() - JobOptions.__annotations__.keys()
        if unknown:
            raise TypeError(f"granted({name!r}) takes no {', '.join(sorted(unknown))}")
        if options.get("attempts", 1) < 1:
            raise FixTheCall(f"granted({name!r}) needs at least one attempt")
        return cls(name, options)

    def call(self, function: Callable[..., Any], args: Any, named: Any, *, leave_out: int = 0) -> "JobCall":
        """Describe one job by the arguments of its function; the queue fills in the first few by itself."""
        told, signature = self.options, inspect.signature(function)
        own = [one for one in signature.parameters.values() if one.name != CARRIED][leave_out:]
        call = Call(
            signature.replace(parameters=own),
            self.name,
            told.get("resource", ""),
            told.get("args"),
            told.get("costs"),
            told.get("summary", ""),
            told.get("compensation_args"),
        )
        intent = call.intent(tuple(args), dict(named))
        intent |= {"compensation": told.get("compensation", ""), "probe": told.get("probe", "")}
        intent |= {"reversibility": told.get("reversibility", Reversibility.UNSPECIFIED)}
        return JobCall(self, function, intent)

    @property
    def attempts(self) -> int:
        """How often it may be carried out in all."""
        return self.options.get("attempts", 1)

    @property
    def retries(self) -> int:
        """How often the queue tries again while no sidecar decides."""
        return self.options.get("retries", 4)

    @property
    def result(self) -> Result:
        """What is told of its result."""
        return Result(self.options.get("receipt"), self.options.get("undo_with"), None, "")


@dataclass(frozen=True, slots=True)
class JobCall:
    """One job, described."""

    declared: Declared
    function: Callable[..., Any]
    #: What `perform` is told.
    intent: Mapping[str, Any]

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """What its grant allows: its own action on its own resource, as often as it may be carried out."""
        resource, told = self.intent["resource"], self.declared.options
        own = Scope(self.declared.name, resource or "*", self.declared.attempts)
        return (own, *scopes_of(told.get("scopes", ())))

    @property
    def waits(self) -> Mapping[str, Any]:
        """How long its permit lasts and is waited for."""
        told = self.declared.options
        return {
            "use_within": told.get("use_within"),
            "approval_timeout": told.get("approval_timeout", APPROVAL_TIMEOUT),
            "timeout": told.get("timeout"),
        }

    def intended(self) -> Intent:
        """Check that it can be told to a sidecar, before anything is enqueued."""
        told = {name: value for name, value in self.intent.items() if name != "name"}
        return Intent.of(self.intent["name"], **told)


def op_name(queue: str, job_id: str) -> str:
    """Answer what the actions of a job are called in its run: the same for every delivery of it."""
    told = job_id if _FITS.fullmatch(job_id) else hashlib.sha256(job_id.encode()).hexdigest()[:32]
    return f"{queue}-{told}"


def pause_after(retries: int) -> float:
    """Answer how many seconds a queue waits before it tries again."""
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(retries, 10))


def ungranted(name: str, job_id: str) -> NoGrant:
    """Say that a job came without authority."""
    return NoGrant(
        f"job {job_id or 'without an id'} came without a grant, so {name} does not run: enqueue it with the "
        "integration, under a grant"
    )
