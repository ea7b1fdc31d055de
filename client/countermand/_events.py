"""What happens here that somebody may want to count: frozen events, and the hooks that are told of them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from countermand._errors import CountermandError
from countermand._words import ErrorReason
from countermand._world import log
from countermand.work.receipt import StopReceipt
from countermand.work.stop import Stop
from countermand.work.tree import WorkNode


@dataclass(frozen=True, slots=True)
class ScopeStopped:
    """A scope was stopped, and its receipt is written; scopes within it tell of themselves.

    The receipt is `late` where the scope had ended before.
    """

    receipt: StopReceipt

    @property
    def stop(self) -> Stop:
        """Why: the object that the exception, the receipt and the log record carry, too."""
        return self.receipt.stop


@dataclass(frozen=True, slots=True)
class WorkUnstopped:
    """A piece of work was still going on when the grace period was over. It is told once of each."""

    work: WorkNode
    stop: Stop


@dataclass(frozen=True, slots=True)
class CommitRefused:
    """A commit or perform got no permit, or no answer; one that waits for a person, each time it asks."""

    error: CountermandError

    @property
    def reason(self) -> ErrorReason:
        """Why; UNSPECIFIED where no sidecar said."""
        return self.error.reason


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """The session on which a client hears of stops came, or went: while there is none, nobody is told of any.

    That a client was closed is no news.
    """

    #: As what the client acts on it, such as `tool`.
    role: str
    is_there: bool


Event = ScopeStopped | WorkUnstopped | CommitRefused | SessionChanged
Hook = Callable[[Event], object]

_lock = threading.RLock()  # a signal handler may stop a scope while its own thread is here
_hooks: dict[object, Hook] = {}


def on_event(hook: Hook) -> Callable[[], None]:
    """Call this with each event of this process, where it happens; answers a function that takes it back.

    It is called in the midst of a stop or a commit, on its loop or in its thread: do little there. A hook
    that fails is logged and stops nothing.
    """
    key = object()
    with _lock:
        _hooks[key] = hook

    def take_back() -> None:
        with _lock:
            _hooks.pop(key, None)

    return take_back


def tell(event: Event) -> None:
    """Call every hook."""
    if not _hooks:
        return
    with _lock:
        hooks = list(_hooks.values())
    for hook in hooks:
        try:
            hook(event)
        except Exception:
            log.exception("a hook that was told of %s failed", type(event).__name__)
