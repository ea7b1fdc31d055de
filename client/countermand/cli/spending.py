"""Spend: take from a budget for what is no action, such as model tokens."""

from typing import Annotated

import typer

from countermand import TryAgain
from countermand._ids import new_id
from countermand.cli import options
from countermand.cli.budgets import left_over
from countermand.cli.call import Call
from countermand.cli.documents import document, members
from countermand.cli.options import GrantOption, Quiet
from countermand.cli.output import show
from countermand.cli.verb import Panel, verb


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    verb(app, Panel.TOOL)(spend)


def spend(
    call: Call,
    budget: Annotated[str, typer.Argument(metavar="BUDGET", help="The budget, such as tokens_out.")],
    amount: Annotated[int, typer.Argument(min=1, metavar="AMOUNT", help="How much, in the budget's unit.")],
    grant: GrantOption = None,
    op: Annotated[
        str | None,
        typer.Option(
            "--op", metavar="ID", help="Names this one spending for ever. Default: a new id, printed."
        ),
    ] = None,
    incurred: Annotated[
        bool,
        typer.Option(
            "--incurred", help="It was used up already: take it whatever is left, and tell what that ends."
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Take from a budget for what is no action, such as the tokens of a model call.

    Example: countermand spend tokens_out 420 --incurred --grant g-1
    """
    token = options.grant_token(call, grant)
    op_id = new_id("s") if op is None else op
    with call.connect() as client:
        try:
            spent = client.tool.spend(token, budget, amount, op_id=op_id, incurred=incurred)
        except TryAgain as error:
            error.metadata["op"] = op_id  # whoever asks again has to know it
            raise
    if quiet:
        print(spent.op_id)
        return
    before = " before; nothing was taken again" if spent.replayed else ""
    left = left_over(spent.remaining)
    if budget not in spent.remaining:
        left += f" Nobody set a budget {budget}: it has no limit."
    told = f"Spent {amount} of {budget}{before}, as {spent.op_id}.{left}"
    show(
        call.output,
        document("spent", budget=budget, amount=amount, **members(spent)),
        lambda page: page.print(told),
    )
