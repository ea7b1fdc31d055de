"""The middleware that `run_for_request` needs: it stands between the server and the application."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from countermand._errors import StopTheRun
from countermand.integrations.asgi.line import Line, Receive, Send

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Where a request's line is in its scope.
LINE = "countermand.line"


class RequestBoundary:
    """Lets `run_for_request` watch the client of a request. Until that asks, everything passes untouched.

    Once a client has left, what its run was stopped with ends here: it is no error of the application.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or LINE in scope:
            await self.app(scope, receive, send)
            return
        line = scope[LINE] = Line(receive, send)
        try:
            await self.app(scope, line.receive, line.send)
        except Exception as error:
            if not (line.left and _tells_of_a_stop(error)):
                raise
        finally:
            await line.close()


def _tells_of_a_stop(error: BaseException | None) -> bool:
    """Say whether it is a stop and nothing else, or was raised because of one."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_tells_of_a_stop, error.exceptions))
    return error is not None and (isinstance(error, StopTheRun) or _tells_of_a_stop(error.__cause__))
