"""What a budget that ran out stops in this process."""

from countermand._errors import FixTheCall
from countermand.streams.listening import Scoped, surrounding, token_of
from countermand.work.stop import Stop
from countermand.work.token import CancellationToken


class Ends:
    """The scope that a budget is made in, and a scope or token that was named: a token stops its scope."""

    def __init__(self, named: Scoped | CancellationToken | None) -> None:
        token = token_of(named)
        if named is not None and token is None:
            raise FixTheCall(
                f"a budget cannot stop {type(named).__name__}: give it a scope, a token or an open run"
            )
        self._tokens = {one for one in (surrounding(), token) if one is not None}

    def stop(self, stop: Stop) -> None:
        """Stop them, from any thread."""
        for token in self._tokens:
            token.cancel(stop)
