"""The gateway: an agent behind OpenAI's two endpoints, which stops when its client hangs up."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

import countermand
from countermand.integrations.asgi import RequestBoundary, run_for_request
from examples.openai_gateway.agent import Agent
from examples.openai_gateway.forms import Chat, Form, Responses, event


def gateway(home: Path | None, agent: Agent) -> Starlette:
    """Answer the application; `home` is that of its sidecar."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with countermand.connect(home) as cm:
            app.state.cm = cm
            yield

    app = Starlette(
        lifespan=lifespan,
        routes=[
            Route("/v1/chat/completions", chat_completions, methods=["POST"]),
            Route("/v1/responses", responses, methods=["POST"]),
        ],
        middleware=[Middleware(RequestBoundary)],
        exception_handlers={countermand.CountermandError: refused},
    )
    app.state.agent = agent
    return app


async def chat_completions(request: Request) -> Response:
    """Serve OpenAI's chat completions."""
    return await respond(request, Chat(await request.json()))


async def responses(request: Request) -> Response:
    """Serve OpenAI's responses."""
    return await respond(request, Responses(await request.json()))


async def respond(request: Request, form: Form) -> Response:
    """Answer at once or piece by piece; either way the run ends with the answer, or with its client."""
    if form.stream:
        return StreamingResponse(pieces(request, form), media_type="text/event-stream")
    state = request.app.state
    async with run_for_request(request, state.cm, agent="gateway") as run:
        text = "".join([word async for word in state.agent(run, form.prompt)])
    return JSONResponse(form.whole(text))


async def pieces(request: Request, form: Form) -> AsyncIterator[str]:
    """The body of a streamed answer: the run lasts as long as this."""
    state, text = request.app.state, ""
    try:
        async with run_for_request(request, state.cm, agent="gateway") as run:
            yield form.begin()
            async with aclosing(state.agent(run, form.prompt)) as words:
                async for word in words:
                    text += word
                    yield form.piece(word)
    except countermand.CountermandError as error:  # the status is sent already
        yield event({"error": told(error)}, "error")
        return
    for part in form.end(text):
        yield part


async def refused(request: Request, error: Exception) -> Response:
    """Answer for a run that was stopped while its client waited, or could not begin."""
    if isinstance(error, countermand.FixTheCall):
        status = 400
    elif isinstance(error, countermand.Stopped | countermand.AuthorityEnded) and is_late(error):
        status = 504
    else:
        status = 409 if isinstance(error, countermand.StopTheRun) else 503
    return JSONResponse({"error": told(error)}, status)


def is_late(error: countermand.Stopped | countermand.AuthorityEnded) -> bool:
    """Say whether the time was over: the scope's own clock says so, or a commit is refused for it first."""
    return isinstance(error, countermand.RunDeadline) or error.stop_reason == "DEADLINE"


def told(error: Exception) -> dict[str, str]:
    """Say it in OpenAI's form of an error."""
    return {"message": str(error), "type": type(error).__name__}
