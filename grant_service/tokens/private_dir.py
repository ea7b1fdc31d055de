"""A directory that only its owner can enter, with files that only its owner can read."""

import errno
import fcntl
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Far above a PEM of Ed25519 (about 120 bytes): what is larger is no key, and is not read.
_MAX_FILE = 4096
#: Where a file is written before it is put in place. A crash may leave one; the next writer removes it.
_UNFINISHED = ".unfinished"


class KeysUnfit(Exception):
    """The key directory cannot be trusted; the message is one line: path, rule, and what puts it right."""

    def __init__(self, path: Path, rule: str, remedy: str) -> None:
        super().__init__(f"{path} {rule}; run: {remedy.format(shlex.quote(str(path)))}")


class PrivateDir:
    """The directory, held open: files are found through it, so that nobody can swap it between two looks."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path = path
        self._fd = fd

    def path(self, name: str) -> Path:
        """Answer how people name a file of it."""
        return self._path / name

    def names(self) -> list[str]:
        """List what is in it, in order."""
        return sorted(os.listdir(self._fd))

    def read(self, name: str) -> bytes:
        """Answer the content of a file that is ours and private, or raise KeysUnfit."""
        path, fd = self.path(name), self._open(name)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_FILE:
                raise KeysUnfit(path, f"must be a plain file of at most {_MAX_FILE} bytes", "mv {0} {0}.old")
            _require_private(path, status, 0o600)
            return os.read(fd, _MAX_FILE)
        finally:
            os.close(fd)

    def put(self, name: str, content: bytes) -> None:
        """Put a private file in place: after a crash at any moment it is there whole, or is as it was."""
        with suppress(FileNotFoundError):
            os.unlink(_UNFINISHED, dir_fd=self._fd)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(_UNFINISHED, flags, 0o600, dir_fd=self._fd), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # the content before the name, or a power cut leaves an empty key
        os.rename(_UNFINISHED, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        os.fsync(self._fd)

    def _open(self, name: str) -> int:
        # Never through a link. NONBLOCK, because opening a pipe would wait for its writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            return os.open(name, flags, dir_fd=self._fd)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        remedy = "cp -pL {0} {0}.new && mv {0}.new {0}"
        raise KeysUnfit(self.path(name), "must be the file itself, not a link to it", remedy)


@contextmanager
def private_dir(path: Path, *, create: bool = False) -> Iterator[PrivateDir]:
    """Hold the directory open and to ourselves, or raise KeysUnfit; `create` makes one that is not there.

    The lock is the kernel's, on the directory: it needs no file and dies with its holder. Others wait for it.
    """
    try:
        if create:
            _make(path)
        fd = _open_directory(path)
        try:
            _require_private(path, os.fstat(fd), 0o700)
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield PrivateDir(path, fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise KeysUnfit(path, f"cannot be used ({error})", "ls -la {0}") from error


def _make(path: Path) -> None:
    with suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)


def _open_directory(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
    raise KeysUnfit(path, "must be a directory itself, not a file or a link", "mv {0} {0}.old")


def _require_private(path: Path, status: os.stat_result, widest: int) -> None:
    """Whoever else could write a key here could issue grants; whoever could read one, too."""
    uid, mode = os.geteuid(), status.st_mode & 0o777
    if status.st_uid != uid:
        raise KeysUnfit(path, f"belongs to uid {status.st_uid}, but must to uid {uid}", f"chown {uid} {{0}}")
    if mode & ~widest:
        raise KeysUnfit(path, f"has mode {mode:04o}, wider than {widest:04o}", f"chmod {widest:o} {{0}}")
