"""A key of our own, an archive that believes it, and somebody who writes to its directory without the key."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from grant_service.archive import blocks
from grant_service.archive.files import ArchiveFiles
from grant_service.archive.seals import Seals
from grant_service.core.evidence import chain, head_fields, head_of
from grant_service.core.journal import Entry, Kind
from grant_service.core.store import Durability, Standing
from grant_service.tokens.keys import Keyring, SigningKey

STANDING = Standing("epoch", Durability.SYNCED, 5000, 9)


def seals(number: int = 0, kid: str = "k-1", retired: Keyring | None = None) -> Seals:
    """Make seals with a key that is always the same; those of another keyring may be retired here."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(number, number + 32)))
    return Seals(Keyring(SigningKey(kid, key), {kid: key.public_key()}, retired.verifying if retired else {}))


SEALS = seals()


def archive_files(folder: Path) -> ArchiveFiles:
    """Open the archive of a folder."""
    return ArchiveFiles(folder / "archive", SEALS.doubt)


@dataclass
class Told:
    """A block as the forger sees it: what its lines say."""

    first: dict[str, Any]
    entries: list[dict[str, Any]]
    last: dict[str, Any]

    def entry(self, number: int) -> Entry:
        """One of its entries."""
        told = self.entries[number]
        return Entry(told["seq"], told["time"], told["run"], Kind(told["kind"]), told["data"])

    def fit(self) -> None:
        """Make chain and head fit the entries."""
        entries = [self.entry(number) for number in range(len(self.entries))]
        for told, (_, link) in zip(self.entries, chain(self.first["run"], entries), strict=True):
            told["hash"] = link.hex()
        head = self.last["head"]
        told_head = head_of(self.first["run"], entries)
        head |= head_fields(told_head, head["time"], head["store_epoch"], head["key_id"])


@dataclass
class Forger:
    """Reads an archive file, and puts another in its place."""

    directory: Path
    blocks: dict[str, Told] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.path,) = self.directory.glob("*.jsonl")
        self.header, *lines, _ = [json.loads(one) for one in self.path.read_text().splitlines()]
        while lines:
            end = next(at for at, one in enumerate(lines) if "head" in one) + 1
            first, *entries, last = lines[:end]
            self.blocks[first["run"]] = Told(first, entries, last)
            lines = lines[end:]

    def put(self) -> None:
        """Write what was made of it, with a checksum that holds, and leave no index behind."""
        lines = [self.header]
        for told in self.blocks.values():
            lines += [told.first, *told.entries, told.last]
        text = b"".join(map(blocks.line, lines))
        self.path.write_bytes(text + blocks.line({"sha256": hashlib.sha256(text).hexdigest()}))
        (self.directory / "index.db").unlink()
