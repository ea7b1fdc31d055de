"""The request boundary for ASGI (Starlette, FastAPI, or none): a client that hangs up cancels its run.

    app.add_middleware(RequestBoundary)

    async def chat(request):
        async with run_for_request(request, cm, agent="chat") as run:
            ...

Plain ASGI: it imports no framework. It stops what the request has started; what an effect may do is still
decided at its commit.
"""

from countermand.integrations.asgi.boundary import RequestBoundary
from countermand.integrations.asgi.request import run_for_request

__all__ = ["RequestBoundary", "run_for_request"]
