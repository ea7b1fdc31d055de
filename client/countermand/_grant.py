"""The grant that is current: it travels in a context variable, not through the model."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from countermand._errors import NoGrant
from countermand._ids import new_id
from countermand._models.budgets import Budget
from countermand._models.runs import ChildRun, Grant
from countermand._scope import Scope
from countermand._secret import SecretToken
from countermand._world import Locks


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the sidecar for a grant: narrowed from one `above`, in a `child` run perhaps."""

    run_id: str = ""
    scopes: tuple[Scope, ...] = ()
    ttl: float | None = None
    audience: str = ""
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    sealed: bool = False
    above: "Authority | None" = None
    child: ChildRun | None = None
    #: How long it is made to last, in seconds, whenever it is acted under; None: it is left as it is.
    extend: float | None = None


class Authority(Locks):
    """What a grant asks for, and its token once issued. Both clients may use it, in any task or thread."""

    def __init__(self, asked: Asked, token: SecretToken | None = None) -> None:
        super().__init__()
        self.asked = asked
        #: Chosen here, once: whoever repeats the request, and from whichever thread, gets the same grant.
        self.request_id = new_id("g")
        self.token = token
        self.grant: Grant | None = None
        #: What was left in each budget that applies when it was issued; empty where only its token is known.
        self.remaining: Mapping[str, int] = {}
        #: When it was last asked to be extended, by the client's clock.
        self.extended_at: float | None = None

    def is_to_be_extended(self, now: float) -> bool:
        """Say whether more time is due: before it is first acted under, then after half of what was asked."""
        wanted, last = self.asked.extend, self.extended_at
        return wanted is not None and (last is None or now - last >= wanted / 2)


class Held(Protocol):
    """A grant of either client, as the context variable holds it."""

    @property
    def client(self) -> Any: ...

    @property
    def authority(self) -> Authority: ...


# A stack, replaced and never changed: tasks and threads that copied the context keep theirs.
_held: ContextVar[tuple[Held, ...]] = ContextVar("countermand_held_grants", default=())


def hold(grant: Held) -> None:
    """Make a grant the current one of this context."""
    _held.set((*_held.get(), grant))


def let_go(grant: Held) -> None:
    """Make the one before it current again; a context that does not hold it is left as it is."""
    held = _held.get()
    for index in reversed(range(len(held))):
        if held[index] is grant:
            _held.set(held[:index] + held[index + 1 :])
            return


def held_grant() -> Held:
    """Answer the current grant, or say that there is none."""
    held = _held.get()
    if not held:
        raise NoGrant(
            "no grant is current here: act inside 'with run.grant(...)' or 'with cm.use_token(...)', "
            "or pass the context on to the thread that acts (asyncio.to_thread does)"
        )
    return held[-1]
