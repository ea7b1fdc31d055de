"""What a budget that ran out stops in this process, from whichever thread."""

from countermand._errors import FixTheCall
from countermand.work.scope import WorkScope, current_scope
from countermand.work.stop import Stop
from countermand.work.token import CancellationToken


class Ends:
    """The scope that a budget was made in, and a scope or token that was named."""

    def __init__(self, named: WorkScope | CancellationToken | None) -> None:
        self._scopes = [one for one in (current_scope(),) if one is not None]
        self._token: CancellationToken | None = None
        if isinstance(named, CancellationToken):
            self._token = named
        elif isinstance(named, WorkScope) and named not in self._scopes:
            self._scopes.append(named)
        elif named is not None and not isinstance(named, WorkScope):
            raise FixTheCall(
                f"a budget cannot stop {type(named).__name__}: give it a scope, a token or an open run"
            )

    def stop(self, stop: Stop) -> None:
        """Stop them."""
        for scope in self._scopes:
            scope.cancel_threadsafe(stop)
        if self._token is not None:
            self._token.cancel(stop)
