"""The command as its users see it: exit code, standard output, standard error."""

import io
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from countermand import Entry
from countermand.cli import main
from countermand.cli.call import Call


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output as the one JSON document it has to be."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output as a JSON document on each line."""
        return [json.loads(line) for line in self.out.splitlines()]


def after_each(monkeypatch: pytest.MonkeyPatch, **doing: Callable[[], None]) -> None:
    """Do something when an entry of this kind was printed."""
    from countermand.cli import journal

    printed = journal._print

    def act(call: Call, entry: Entry) -> None:
        printed(call, entry)
        doing.get(entry.kind, lambda: None)()

    monkeypatch.setattr(journal, "_print", act)


def ctrl_c() -> None:
    """Press Ctrl-C."""
    raise KeyboardInterrupt


class Shell:
    """Runs commands in this process, as the installed program does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str, typed: str = "", **variables: str) -> Done:
        """Run one command; `typed` is its standard input, `variables` are added to its environment."""
        self._capsys.readouterr()
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.StringIO(typed))
            for name, value in variables.items():
                patch.setenv(name, value)
            code = main(list(arguments))
        said = self._capsys.readouterr()
        return Done(int(code), said.out, said.err)

    def json(self, *arguments: str, **options: str) -> dict[str, Any]:
        """Run one command that must succeed, and read its document."""
        done = self(*arguments, "--output", "json", **options)
        assert done.code == 0, done
        return done.document


def one_line(text: str) -> bool:
    """Say whether this is one line, and no traceback."""
    return text.count("\n") == 1 and text.endswith("\n") and "Traceback" not in text


def without(variables: Mapping[str, str]) -> dict[str, str]:
    """An environment without any variable of ours, and without colours or widths of the tester's own."""
    strange = ("COUNTERMAND_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "_COUNTERMAND")
    return {name: value for name, value in variables.items() if not name.startswith(strange)}
