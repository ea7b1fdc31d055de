"""`write_file` and `staged_file`: a file that is there whole, under a permit, or not at all."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, BinaryIO, TypedDict, Unpack

from countermand._approval import APPROVAL_TIMEOUT
from countermand._async.grant import current_grant
from countermand._async.perform import Performance, perform
from countermand._errors import PermitLapsed
from countermand._files import Path, stage
from countermand._span import Span
from countermand._text import kind_of
from countermand._words import Reversibility
from countermand._world import AsyncWorld, Locks


class FileOptions(TypedDict, total=False):
    """What `staged_file` may be told."""

    name: str
    replace: bool
    mode: int | None
    op_id: str | None
    reversibility: Reversibility
    compensation: str
    compensation_args: Mapping[str, object] | None
    probe: str
    costs: Mapping[str, int] | None
    summary: str
    use_within: Span | None
    approval_timeout: Span | None
    timeout: float | None


async def write_file(path: Path, data: bytes | str, **told: Unpack[FileOptions]) -> str:
    """Write a file in one step under a permit; answer its hash, `sha256:...`.

    Whoever reads finds the old file or the new one, both whole, also after a crash. Text is written as UTF-8.
    The other arguments are those of `staged_file`.
    """
    staged = staged_file(path, **told)
    async with staged:
        staged.rest = data.encode() if isinstance(data, str) else data
    return staged.receipt


def staged_file(
    path: Path,
    *,
    name: str = "file.write",
    replace: bool = True,
    mode: int | None = None,
    op_id: str | None = None,
    reversibility: Reversibility = Reversibility.UNSPECIFIED,
    compensation: str = "",
    compensation_args: Mapping[str, object] | None = None,
    probe: str = "",
    costs: Mapping[str, int] | None = None,
    summary: str = "",
    use_within: Span | None = None,
    approval_timeout: Span | None = APPROVAL_TIMEOUT,
    timeout: float | None = None,
) -> "StagedFile":
    """Write a file in the block, beside its place; put it there under a permit once the block has ended well.

    Dropped without a trace if the block is left by an exception or the permit is refused. The resource is
    `file:` and the absolute path without links, the permit is bound to the content's hash. `replace=False`
    leaves a file alone that is there by then. `mode` is the new file's; without it, it has that of the file
    that it replaces, or 0600. The rest is as in `perform`.
    """
    told: dict[str, Any] = {
        "op_id": op_id,
        "reversibility": reversibility,
        "compensation": compensation,
        "compensation_args": compensation_args,
        "probe": probe,
        "costs": costs,
        "summary": summary,
        "use_within": use_within,
        "approval_timeout": approval_timeout,
        "timeout": timeout,
    }
    return StagedFile(path, name, replace, mode, told)


class StagedFile:
    """A file that is being written beside its place."""

    def __init__(self, path: Path, name: str, replace: bool, mode: int | None, told: dict[str, Any]) -> None:
        self._path, self._name, self._replace, self._mode, self._told = path, name, replace, mode, told
        #: What is to be written behind what was written in the block.
        self.rest = b""
        #: The hash of what was put in place.
        self.receipt = ""
        self._disk = Locks()
        self._finish = current_grant().client.background.finish  # so that a missing grant is said at once

    async def __aenter__(self) -> BinaryIO:
        self._place, self._staged = stage(self._path, self._mode)
        return self._staged.file

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self._put()
        finally:
            await self._aside(self._staged.drop)

    async def _put(self) -> None:
        content = await self._aside(self._staged.complete, self.rest)
        args = {"path": self._place.resource, "sha256": content, "replace": self._replace}
        async with perform(self._name, resource=self._place.resource, args=args, **self._told) as act:
            self._rename(act)
            try:
                await self._aside(self._staged.sync_place)
            except OSError:
                act.unknown("in its place, and a power cut may undo that: its folder could not be synced")
                raise
            act.receipt = self.receipt = f"sha256:{content}"

    def _rename(self, act: Performance) -> None:
        """Do it, right behind the answer: no other task has its turn in between."""
        try:
            if act.permit is None or act.permit.remaining <= 0:
                raise PermitLapsed(
                    f"the permit of action {act.op_id} lapsed before the file could be put in its place: it "
                    "did not happen; write it again",
                    metadata={"op": act.op_id},
                )
            self._staged.put(self._replace)
        except BaseException as error:
            if not self._staged.is_in_place:
                act.failed(f"not put in place: {kind_of(error)}")
            raise

    async def _aside(self, work: Callable[..., Any], *args: Any) -> Any:
        """Have the disk do something; it goes on if the caller is cancelled, and what comes next waits."""
        return await self._finish(self._one_at_a_time, work, *args)

    async def _one_at_a_time(self, work: Callable[..., Any], *args: Any) -> Any:
        async with self._disk.async_lock:
            return await AsyncWorld.aside(work, *args)
