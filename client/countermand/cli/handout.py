"""A report as a page to hand out: asked for by options, printed or put into a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from countermand import Report
from countermand.cli.output import Output, say

_PANEL = "To hand it out"


@dataclass(frozen=True, slots=True)
class Handout:
    """The options that ask for a page."""

    html: Annotated[
        bool,
        typer.Option(
            "--html",
            help="As one page of HTML that needs nothing else, to send or print.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    output_file: Annotated[
        Path | None,
        typer.Option(
            "--output-file",
            metavar="FILE",
            help="Put the page into a file, and print the usual answer too.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    def check(self, output: Output) -> None:
        """Refuse what cannot be meant, before anything is asked."""
        if self.output_file is not None and not self.html:
            raise typer.BadParameter("is where a page goes: add --html", param_hint="--output-file")
        if self.is_answer and output is not Output.TABLE:
            raise typer.BadParameter(
                f"add --output-file, so that --output {output} can be printed", param_hint="--html"
            )

    @property
    def is_answer(self) -> bool:
        """The page is printed instead of the usual answer."""
        return self.html and self.output_file is None

    def give(self, report: Report) -> bool:
        """Print the page or write its file; False, and why, if it could not be written."""
        if not self.html:
            return True
        from countermand.cli.report_html import report_html

        page = report_html(report)
        if self.output_file is None:
            print(page, end="", flush=True)
            return True
        try:
            self.output_file.write_text(page, encoding="ascii")
        except OSError as error:
            run = report.run.run_id
            say(
                f"The page could not be written to {self.output_file}: {error.strerror or error}. "
                f"Ask again: countermand report {run} --html --output-file FILE"
            )
            return False
        say(f"The page is in {self.output_file}.")
        return True
