"""A file that is written beside its place and then put there: what is done on the disk, step by step."""

import fcntl
import hashlib
import os
import re
import secrets
import stat
from contextlib import suppress
from io import BufferedRandom
from urllib.parse import quote

from countermand._errors import InvalidRequest

#: Nobody can guess the name, and everybody can tell what it is.
_TEMPORARY = re.compile(r"\.countermand-[0-9a-f]{32}\.tmp")
#: What may stand in a resource as it is. The rest is escaped, and what must not be escaped is refused there.
_PLAIN = "!\"#$&'()+,-./:;<=>?@[\\]^_`{|}~"
_NEW = 0o600  # the mode of a file that was not there
_RIGHTS = 0o777  # of a mode: whoever writes a file anew does not make it run as somebody else

Path = str | os.PathLike[str]

#: Folders in which this process has looked for what others left behind, by device and inode.
_swept: set[tuple[int, int]] = set()


class Place:
    """Where a file is to be: a name in a folder, held open so that no other can be put in its stead."""

    def __init__(self, path: Path) -> None:
        folder, self.name = os.path.split(os.fspath(path))
        if self.name in ("", ".", ".."):
            raise _refused(path, "must end in the name of a file")
        self.folder = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._real = os.path.realpath(folder or ".")
            if not os.path.samestat(os.stat(self._real), os.fstat(self.folder)):
                raise _refused(path, "must have a folder that stays where it is")
            self.mode = self._mode(path)
            self._sweep()
        except BaseException:
            self.close()
            raise

    @property
    def resource(self) -> str:
        """The one spelling of the path: absolute, without links, `file:` before it."""
        return "file:" + quote(os.fsencode(os.path.join(self._real, self.name)), safe=_PLAIN)

    def _mode(self, path: Path) -> int:
        """Answer the rights of the file that is there; only a plain file is ever replaced."""
        try:
            there = os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return _NEW
        if not stat.S_ISREG(there.st_mode):
            raise _refused(path, "must not name a link, a folder or a device: name the file itself")
        return there.st_mode & _RIGHTS

    def _sweep(self) -> None:
        """Remove what processes that died left behind; whoever is alive holds a lock on theirs."""
        folder = os.fstat(self.folder)
        if (folder.st_dev, folder.st_ino) in _swept:
            return
        _swept.add((folder.st_dev, folder.st_ino))
        for name in filter(_TEMPORARY.fullmatch, os.listdir(self.folder)):
            with suppress(OSError):
                left = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.folder)
                try:
                    fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(name, dir_fd=self.folder)
                finally:
                    os.close(left)

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self.folder)


class Staged:
    """The new file, under a name of its own, until it is put in its place or dropped."""

    def __init__(self, place: Place, mode: int | None) -> None:
        self._place = place
        self._mode = place.mode if mode is None else mode & _RIGHTS
        #: To be written in the block, and not any more once it is complete. What was written stays open here.
        self.file: BufferedRandom
        while True:  # again only if somebody swept it away before it was locked
            self.name = f".countermand-{secrets.token_hex(16)}.tmp"
            how = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            opened = os.open(self.name, how, _NEW, dir_fd=place.folder)
            fcntl.flock(opened, fcntl.LOCK_EX)
            if os.fstat(opened).st_nlink:
                self._opened = opened
                self.file = open(os.dup(opened), "w+b")  # noqa: SIM115 - it is closed by `complete` or `drop`
                return
            os.close(opened)

    def complete(self, data: bytes) -> str:
        """Write the rest, let nobody write any more, make all of it durable, and answer its hash."""
        self.file.write(data)
        self.file.close()
        os.fchmod(self._opened, self._mode)
        os.fsync(self._opened)
        with open(self._opened, "rb", closefd=False) as whole:
            whole.seek(0)
            return hashlib.file_digest(whole, "sha256").hexdigest()

    def put(self, replace: bool) -> None:
        """Put it in its place in one step. It is there, whole, or nothing has changed."""
        here = {"src_dir_fd": self._place.folder, "dst_dir_fd": self._place.folder}
        if replace:
            os.rename(self.name, self._place.name, **here)
        else:
            os.link(self.name, self._place.name, **here, follow_symlinks=False)

    @property
    def is_in_place(self) -> bool:
        """Say whether it is what stands there now."""
        try:
            there = os.stat(self._place.name, dir_fd=self._place.folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._opened))

    def sync_place(self) -> None:
        """Make durable that it is there."""
        os.fsync(self._place.folder)

    def drop(self) -> None:
        """Remove what is left under its own name, and let go of everything."""
        try:
            with suppress(FileNotFoundError):  # it was renamed
                os.unlink(self.name, dir_fd=self._place.folder)
        finally:
            try:
                self.file.close()
            finally:
                os.close(self._opened)
                self._place.close()


def stage(path: Path, mode: int | None) -> tuple[Place, Staged]:
    """Begin a file for a place; nothing stands there yet."""
    place = Place(path)
    try:
        return place, Staged(place, mode)
    except BaseException:
        place.close()
        raise


def _refused(path: Path, rule: str) -> InvalidRequest:
    return InvalidRequest(f"the path {os.fspath(path)!r} {rule}", metadata={"field": "path", "rule": rule})
