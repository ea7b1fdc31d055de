"""Verbs that become commands when asked for: to build them all takes longer than most of them take."""

from collections.abc import Iterator, Mapping
from typing import Any

import typer
from typer.core import TyperGroup


class Unbuilt(Mapping[str, Any]):
    """The commands of an app by their names; the help asks for all of them, a call for one."""

    def __init__(self, app: typer.Typer) -> None:
        self._commands = {one.name: one for one in app.registered_commands}
        self._groups = {one.name: one for one in app.registered_groups}

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        alone = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False)
        if name in self._groups:
            alone.registered_groups.append(self._groups[name])
            return typer.main.get_group(alone).commands[name]
        alone.registered_commands.append(self._commands[name])
        return typer.main.get_command(alone)

    def __contains__(self, name: object) -> bool:
        return name in self._commands or name in self._groups

    def __iter__(self) -> Iterator[str]:
        return (str(name) for name in (*self._commands, *self._groups))

    def __len__(self) -> int:
        return len(self._commands) + len(self._groups)


def group_of(app: typer.Typer) -> type[TyperGroup]:
    """Answer the kind of group that has an app's verbs for its own."""

    class Verbs(TyperGroup):
        """Builds what is asked for."""

        def __init__(self, **told: Any) -> None:
            super().__init__(**told)
            self.commands: Any = Unbuilt(app)

    return Verbs
