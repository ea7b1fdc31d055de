"""The grant that is current: it travels in a context variable, not through the model."""

from contextvars import ContextVar
from typing import Any, Protocol

from countermand._errors import NoGrant
from countermand._ids import new_id
from countermand._models.runs import Grant
from countermand._scope import Scope
from countermand._secret import SecretToken
from countermand._world import Locks


class Authority(Locks):
    """What a grant asks for, and its token once issued. Both clients may use it, in any task or thread."""

    def __init__(
        self,
        run_id: str = "",
        scopes: tuple[Scope, ...] = (),
        ttl: float | None = None,
        audience: str = "",
        token: SecretToken | None = None,
    ) -> None:
        super().__init__()
        self.run_id = run_id
        self.scopes = scopes
        self.ttl = ttl
        self.audience = audience
        #: Chosen here, once: whoever repeats the request, and from whichever thread, gets the same grant.
        self.request_id = new_id("g")
        self.token = token
        self.grant: Grant | None = None


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
