"""Run a compensator: what carries out undos, calls jobs off, and asks what became of things."""

import asyncio
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from countermand import DutyStep, Progress, Registry
from countermand.cli.call import Call
from countermand.cli.documents import document, dumps
from countermand.cli.exit_codes import ExitCode
from countermand.cli.output import Output, say
from countermand.cli.verb import Panel, verb
from countermand.cli.words import clock_time, now

if TYPE_CHECKING:
    from countermand import Compensator


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    verb(app, Panel.UNDO)(compensate)


def compensate(
    call: Call,
    functions: Annotated[
        str,
        typer.Argument(
            metavar="MODULE[:REGISTRY]",
            help="The Python module with the functions, found from the current directory; and its registry, "
            "unless they were registered without one.",
        ),
    ],
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="How many duties at a time.")] = 4,
    once: Annotated[bool, typer.Option("--once", help="End when nothing is due any more.")] = False,
    lease: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="How long nobody else takes over a duty if this process dies; renewed while it lives.",
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(metavar="TEXT", help="Who does it, for the report. Default: host and process.")
    ] = "",
) -> None:
    """Carry out what is to be undone, called off or asked, with the functions of a Python module.

    SIGTERM and Ctrl-C let what is under way come to its end, a second one lets go of it. With --once it exits
    with 12 if something was given up, and with 13 if something is tried again later or was lost to others.

    Example: countermand compensate mailer.undo --once
    """
    registry = _registry(functions)
    progress = _Progress(call.output)
    stopped_by = asyncio.run(_run(call, registry, workers, once, lease, name, progress))
    if stopped_by == signal.SIGINT:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if once and (code := progress.code) is not ExitCode.OK:
        raise typer.Exit(code)


def _registry(functions: str) -> Registry:
    """Import the functions, as `python -m` would from here."""
    from countermand import _registry

    module_name, colon, name = functions.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")) or (colon and not name.isidentifier()):
        raise _wrong(f"must read MODULE or MODULE:REGISTRY; not {functions!r}")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise _wrong(f"{module_name} cannot be imported: {type(error).__name__}: {error}") from error
    registry = getattr(module, name, None) if name else _registry.shared
    if not isinstance(registry, Registry):
        raise _wrong(f"{module_name} has no Registry called {name}")
    if not registry.functions:
        raise _wrong(f"{functions} registers no compensation, canceller or probe")
    return registry


def _wrong(why: str) -> typer.BadParameter:
    return typer.BadParameter(why, param_hint="MODULE[:REGISTRY]")


async def _run(
    call: Call,
    registry: Registry,
    workers: int,
    once: bool,
    lease: str | None,
    name: str,
    progress: "_Progress",
) -> int | None:
    """Run it until it is done or told to stop; answer the signal that told it."""
    from countermand import compensator, connect
    from countermand._span import seconds

    place = call.place
    limit = seconds(place.timeout) if place.timeout else 2.0
    async with connect(place.home, target=place.target, timeout=limit) as client:
        worker = compensator(
            registry, client=client, workers=workers, lease=lease, name=name, on_step=progress
        )
        stopping = _Stopping(worker)
        names = ", ".join(sorted(f"{one} ({kind.lower()})" for kind, one in registry.functions))
        say(f"Compensator {worker.name} is ready: {names}")
        try:
            await (worker.run_until_idle() if once else worker.run())
        except asyncio.CancelledError:
            say("Let go: what was not finished is due again soon.")
    return stopping.told


class _Stopping:
    """Ends a compensator in order at the first signal, and at once at the second."""

    def __init__(self, worker: "Compensator") -> None:
        self.told: int | None = None
        self._worker = worker
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)

    def _stop(self, number: int) -> None:
        if self.told is None:
            self.told = number
            say("Stopping: what is under way comes to its end.")
            self._worker.stop()
        elif self._task is not None:
            self._task.cancel()


_WORDS = {
    Progress.BEGUN: "begun",
    Progress.DONE: "done",
    Progress.REFUSED: "refused: it will not be called off",
    Progress.TRIED: "did not work, is tried again",
    Progress.FAILED: "GIVEN UP: a person has to look",
    Progress.LOST: "not ours any more",
    Progress.UNTOLD: "NOT ON RECORD: it will be done again",
}


class _Progress:
    """Prints a line at each step, and remembers how each duty ended."""

    def __init__(self, output: Output) -> None:
        self._for_people = output is Output.TABLE and sys.stdout.isatty()
        self._last: dict[str, Progress] = {}

    def __call__(self, step: DutyStep) -> None:
        self._last[step.duty.key] = step.what
        print(_line(step) if self._for_people else dumps(_document(step)), flush=True)

    @property
    def code(self) -> ExitCode:
        """How it ended: everything carried out, something given up, or something left to do or lost."""
        ends = set(self._last.values())
        if Progress.FAILED in ends:
            return ExitCode.NOT_UNDONE
        left = {Progress.TRIED, Progress.UNTOLD, Progress.LOST}
        return ExitCode.UNDO_PENDING if ends & left else ExitCode.OK


def _line(step: DutyStep) -> str:
    duty = step.duty
    told = [clock_time(now(), now()), duty.name, duty.key, _WORDS[step.what]]
    attempt = f"attempt {duty.attempt}" if duty.attempt > 1 else ""
    due = f"at {clock_time(step.due_time, now())}" if step.due_time else ""
    receipt = f"receipt {step.receipt}" if step.receipt else ""
    more = [one for one in (due, receipt, attempt, step.note, _raised(step)) if one]
    return "  ".join(told) + (f"  ({'; '.join(more)})" if more else "")


def _raised(step: DutyStep) -> str:
    """What the function raised: here, beside it, and nowhere else."""
    return " ".join(f"{type(step.error).__name__}: {step.error}".split()) if step.error else ""


def _document(step: DutyStep) -> dict[str, object]:
    duty = step.duty
    return document(
        "duty_step",
        what=step.what,
        at=now(),
        kind=duty.kind,
        name=duty.name,
        key=duty.key,
        run_id=duty.run_id,
        op_id=duty.op_id,
        action=duty.action,
        resource=duty.resource,
        attempt=duty.attempt,
        receipt=step.receipt,
        note=step.note,
        due_time=step.due_time,
        error=_raised(step),
    )
