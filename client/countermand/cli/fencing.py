"""Revoke and freeze: stop everything a selector names, at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from countermand import (
    AskOperator,
    Conflict,
    CountermandError,
    ErrorReason,
    Fence,
    FenceKind,
    FenceSet,
    FenceState,
    Hit,
)
from countermand._ids import new_id
from countermand.cli import confirming, fence_wait, options, waiting
from countermand.cli.call import Call
from countermand.cli.confirming import Asking
from countermand.cli.documents import document
from countermand.cli.exit_codes import ExitCode
from countermand.cli.fence_page import print_dry_run, print_set
from countermand.cli.output import say, show, talk_page
from countermand.cli.selectors import Selection, in_words
from countermand.cli.verb import Panel, verb

if TYPE_CHECKING:
    from countermand.sync import Client

#: Sets a fence, or with `True` only tells what it would hit.
Setting = Callable[["Client", bool], FenceSet]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    verb(app, Panel.AUTHORITY)(revoke)
    verb(app, Panel.AUTHORITY)(freeze)


@dataclass(frozen=True, slots=True)
class Order:
    """The options both verbs share, beside what is hit."""

    note: Annotated[
        str, typer.Option(metavar="TEXT", help="One line for people. Whoever is refused sees it.")
    ] = ""
    actor: options.Actor = None
    id: Annotated[
        str | None,
        typer.Option(
            metavar="FENCE",
            help="The fence's id. Default: a new one, printed first. Safe to repeat after a lost answer.",
        ),
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only tell what it would hit. The service counts; nothing is stopped."
        ),
    ] = False
    wait: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Wait until nothing it hit is in flight, this long at the most, such as 5s."
        ),
    ] = None


def revoke(call: Call, over: Selection, reason: options.Reason, order: Order, asking: Asking) -> None:
    """Stop everything of a kind that was issued so far. What is issued later can act.

    Example: countermand revoke --tenant acme --action 'email.*' --reason incident --dry-run
    """
    selector, why = over.selector(), options.reason(reason)
    fence_id = _fence_id(order)

    def set_it(client: "Client", dry_run: bool) -> FenceSet:
        return client.operator.revoke(
            selector,
            reason=why,
            actor=_actor(order),
            note=order.note,
            request_id=fence_id,
            dry_run=dry_run,
        )

    _fence(call, FenceKind.REVOKE, in_words(selector), fence_id, order, asking, set_it)


def freeze(
    call: Call,
    over: Selection,
    reason: options.Reason,
    order: Order,
    asking: Asking,
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="How long, such as 2h. Default: until it is lifted."),
    ] = None,
) -> None:
    """Stop everything of a kind, and block what comes later, until it is lifted.

    Example: countermand freeze --tenant acme --action 'email.*' --reason incident --wait 5s
    """
    selector, why = over.selector(), options.reason(reason)
    fence_id = _fence_id(order)

    def set_it(client: "Client", dry_run: bool) -> FenceSet:
        return client.operator.freeze(
            selector,
            reason=why,
            actor=_actor(order),
            note=order.note,
            ttl=for_,
            request_id=fence_id,
            dry_run=dry_run,
        )

    _fence(call, FenceKind.FREEZE, in_words(selector), fence_id, order, asking, set_it)


def _fence_id(order: Order) -> str:
    """Choose the id before anything is sent: whoever gets no answer can repeat the very same request."""
    return new_id("f") if order.id is None else order.id


def _actor(order: Order) -> str:
    return options.login_name() if order.actor is None else order.actor


def _fence(
    call: Call, kind: FenceKind, what: str, fence_id: str, order: Order, asking: Asking, set_it: Setting
) -> None:
    patience = waiting.patience(order.wait)
    with call.connect() as client:
        if order.dry_run:
            _dry_run(call, kind, what, set_it(client, True).hit)
            return
        confirming.confirm(
            call.verb,
            what,
            asking,
            lambda: set_it(client, True).hit,
            lambda hit: print_dry_run(talk_page(), kind, what, hit),
        )
        fenced = _set(client, fence_id, set_it)
        hit = fence_wait.until_quiet(call, client, fence_id, fenced.hit, patience)
    _show(call, fenced, hit)
    if order.wait is not None and not fence_wait.is_quiet(hit):
        raise typer.Exit(ExitCode.NOT_QUIET)
    if not fenced.hit.run_count and fenced.hit.complete and not fenced.replayed:
        raise typer.Exit(ExitCode.NOTHING_HIT)


def _dry_run(call: Call, kind: FenceKind, what: str, hit: Hit) -> None:
    whole = document("fenced", dry_run=True, fence=None, hit=hit, replayed=False, quiet=None)
    show(call.output, whole, lambda console: print_dry_run(console, kind, what, hit))
    if not hit.run_count and hit.complete:
        say(f"Nothing that is alive matches: {what}. Check it: countermand runs --state active")
        raise typer.Exit(ExitCode.NOTHING_HIT)


def _set(client: "Client", fence_id: str, set_it: Setting) -> FenceSet:
    say(f"Fence {fence_id}")
    try:
        fenced = set_it(client, False)
    except CountermandError as error:
        error.metadata["fence"] = fence_id  # whoever asks again has to know it
        raise
    if fenced.replayed and fenced.fence is not None and _blocks_no_more(fenced.fence):
        raise Conflict(
            f"fence {fence_id} was set before, and blocks no more ({fenced.fence.state}); choose another id",
            reason=ErrorReason.FENCE_EXISTS,
            metadata={"fence": fence_id},
        )
    return fenced


def _blocks_no_more(fence: Fence) -> bool:
    """Whether it is a freeze that is over: to set it again by its id freezes nothing."""
    return fence.kind is FenceKind.FREEZE and fence.state is not FenceState.STANDING


def _show(call: Call, fenced: FenceSet, hit: Hit) -> None:
    fence = fenced.fence
    if fence is None:
        raise AskOperator("the sidecar set the fence and did not tell of it; see 'countermand fences'")
    if not fenced.hit.run_count and fenced.hit.complete and not fenced.replayed:
        later = (
            "What comes later is blocked." if fence.kind is FenceKind.FREEZE else "So NOTHING WAS STOPPED."
        )
        say(f"WARNING: nothing that is alive matches: {in_words(fence.selector)}. {later}")
    if fenced.replayed:
        say(f"Fence {fence.fence_id} had been set before, just like this.")
    quiet = fence_wait.is_quiet(hit)
    whole = document("fenced", dry_run=False, fence=fence, hit=hit, replayed=fenced.replayed, quiet=quiet)
    show(call.output, whole, lambda console: print_set(console, fence, hit, replayed=fenced.replayed))
