"""Rows of data for people: a table where it fits, a block for each row where the terminal is too narrow."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

#: Below this many columns a table that does not fit is told as blocks; above, its cells are folded.
_NARROW = 80


def print_rows(
    console: "Console", header: Sequence[str], rows: Sequence[Sequence[str]], keep: int = 2
) -> None:
    """Print rows; columns that are empty in all of them are left out, except the first `keep`."""
    used = [at for at in range(len(header)) if at < keep or any(row[at] for row in rows)]
    header = [header[at] for at in used]
    rows = [[row[at] for at in used] for row in rows]
    if console.width < _NARROW and _natural_width(header, rows) > console.width:
        _print_blocks(console, header, rows, keep)
    else:
        _print_table(console, header, rows)


def _natural_width(header: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    from rich.cells import cell_len

    cells = [header, *rows]
    return sum(max(cell_len(row[at]) for row in cells) + 3 for at in range(len(header)))


def _print_table(console: "Console", header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    lines = box.SIMPLE_HEAD if console.is_terminal else None
    table = Table(box=lines, header_style="bold", pad_edge=True, padding=(0, 2, 0, 0), show_edge=False)
    for name in header:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text, never markup: receipts and notes are not ours
    console.print(_indented(table))


def _print_blocks(
    console: "Console", header: Sequence[str], rows: Sequence[Sequence[str]], keep: int
) -> None:
    from rich.text import Text

    for row in rows:
        console.print(_indented(Text(" ".join(cell for cell in row[:keep] if cell), style="bold")))
        for name, cell in zip(header[keep:], row[keep:], strict=True):
            if cell:
                console.print(_indented(Text(f"{name}: {cell}"), 4))


def _indented(content: object, by: int = 2) -> object:
    from rich.padding import Padding

    return Padding(content, (0, 0, 0, by), expand=False)  # type: ignore[arg-type]
