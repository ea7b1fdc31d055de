"""List fences, and lift one."""

from typing import Annotated

import typer

from countermand.cli import completion, options
from countermand.cli.call import Call
from countermand.cli.documents import document, members
from countermand.cli.fence_page import meaning, print_fences
from countermand.cli.output import say, show
from countermand.cli.selectors import in_words
from countermand.cli.verb import Panel, verb
from countermand.cli.words import now

FenceId = Annotated[
    str, typer.Argument(metavar="FENCE", help="The fence.", autocompletion=completion.frozen_fences)
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    verb(app, Panel.AUTHORITY)(lift)
    verb(app, Panel.AUTHORITY)(fences)


def fences(
    call: Call, all_: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False
) -> None:
    """List the fences that stand, the youngest first."""
    with call.connect() as client:
        found = client.auditor.fences(standing_only=not all_)
    if not found and call.output.value == "table":
        say(
            "There are no fences."
            if all_
            else "No fence stands. Those that are over: countermand fences --all"
        )
    lines = [document("fence", **members(one)) for one in found]
    show(call.output, document("fences", fences=found), lambda page: print_fences(page, found, now()), lines)


def lift(
    call: Call,
    fence: FenceId,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why, in one line. It goes on record.")],
    actor: options.Actor = None,
) -> None:
    """End a freeze. What is issued from now on can act; what it killed stays dead.

    Example: countermand lift f-1 --note 'the template is mended'
    """
    with call.connect() as client:
        lifted = client.operator.lift(
            fence, note=note, actor=options.login_name() if actor is None else actor
        )
    before = " before; that stands" if lifted.replayed else ""
    told = f"Lifted{before}: {in_words(lifted.fence.selector)}. {meaning(lifted.fence, now())}"
    show(
        call.output,
        document("lifted", **members(lifted)),
        lambda console: console.print(told, soft_wrap=True),
    )
