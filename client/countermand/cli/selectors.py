"""What a fence is to stand over, as options and in words. All that are given must match."""

import json
from dataclasses import dataclass
from typing import Annotated

import typer

from countermand import Selector
from countermand.cli import completion, options

_PANEL = "What it hits: all that are given must match"


@dataclass(frozen=True, slots=True)
class Selection:
    """The options that say what is hit."""

    run: Annotated[
        str,
        typer.Option(
            metavar="RUN",
            help="A run, and all runs below it.",
            autocompletion=completion.active_runs,
            rich_help_panel=_PANEL,
        ),
    ] = ""
    grant: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="A grant, and all delegated from it.",
            autocompletion=completion.grants,
            rich_help_panel=_PANEL,
        ),
    ] = ""
    subject: Annotated[
        str, typer.Option(metavar="USER", help="All runs of a user.", rich_help_panel=_PANEL)
    ] = ""
    agent: Annotated[
        str, typer.Option(metavar="NAME", help="All runs of an agent.", rich_help_panel=_PANEL)
    ] = ""
    tenant: Annotated[
        str, typer.Option(metavar="NAME", help="All runs of a tenant.", rich_help_panel=_PANEL)
    ] = ""
    action: Annotated[
        str,
        typer.Option(
            metavar="PATTERN",
            help="All actions of a pattern, such as email.send or 'email.*'.",
            rich_help_panel=_PANEL,
        ),
    ] = ""
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="All runs with this mark; repeatable.", rich_help_panel=_PANEL
        ),
    ] = None
    all: Annotated[
        bool, typer.Option("--all", help="Everything. It stands alone.", rich_help_panel=_PANEL)
    ] = False

    def selector(self) -> Selector:
        """Read them; none is a mistake, and so is anything beside --all."""
        read = Selector(
            run_id=self.run,
            grant_id=self.grant,
            subject=self.subject,
            agent=self.agent,
            tenant=self.tenant,
            action=self.action,
            labels=options.labels(self.label or ()),
            all=self.all,
        )
        if self.all and read != Selector(all=True):
            raise typer.BadParameter("--all is everything: it stands alone")
        if read == Selector():
            raise typer.BadParameter(
                "say what to hit: --run, --grant, --subject, --agent, --tenant, --action, --label, or --all"
            )
        return read


def in_words(selector: Selector) -> str:
    """Say what a fence stands over: `email.* of tenant acme`."""
    if selector.all:
        return "everything"
    named = (
        ("run", selector.run_id),
        ("grant", selector.grant_id),
        ("subject", selector.subject),
        ("agent", selector.agent),
        ("tenant", selector.tenant),
        *(("label", f"{name}={value}") for name, value in sorted(selector.labels.items())),
    )
    of_whom = ", ".join(f"{kind} {_quoted(value)}" for kind, value in named if value)
    if not selector.action:
        return f"everything of {of_whom}"
    return f"{selector.action} of {of_whom}" if of_whom else f"{selector.action} of everybody"


def _quoted(value: str) -> str:
    """Quote what could be taken for more than one value."""
    return json.dumps(value, ensure_ascii=False) if " " in value or '"' in value else value
