"""Seals: what makes an archived run believed. To write to the directory is not enough to make one."""

from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature

from grant_service.archive.blocks import Block, Doubt
from grant_service.core.evidence import head_fields, head_of, sealed_bytes, signed_bytes
from grant_service.core.journal import Entry
from grant_service.core.run import Run
from grant_service.core.store import Standing
from grant_service.store.records import run_fields
from grant_service.tokens.keys import Keyring


class Seals:
    """Seals what goes into the archive with the key that signs; holds what comes back against all keys."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def block(self, run: Run, entries: Sequence[Entry], standing: Standing) -> Block:
        """Make the block of a run: its record, its journal, the signed head of that, and the seal."""
        key = self._keyring.signing
        head, time, epoch = head_of(run.run_id, entries), standing.now, standing.epoch
        signature = key.private_key.sign(signed_bytes(head, time, epoch, key.kid))
        told = head_fields(head, time, epoch, key.kid) | {"signature": signature.hex()}
        seal = key.private_key.sign(sealed_bytes(run_fields(run), told))
        return Block(run, tuple(entries), told, seal.hex())

    def doubt(self, record: Mapping[str, str], head: Mapping[str, Any], seal: str) -> Doubt | None:
        """Say why a record and a head are not to be believed, or None if one of our keys sealed them.

        The seal is over the head with its signature. A head alone does not do: every report hands one out, so
        whoever has an old report could pass off the beginning of a journal as all of it.
        """
        kid, ring = str(head["key_id"]), self._keyring
        key = ring.verifying.get(kid) or ring.retired.get(kid)
        if key is None:
            return Doubt(
                f"it is sealed by key {kid}, and that is not among the keys of this sidecar",
                f"put {kid}.pub into its key directory and start it again, or, if it never was a key of "
                "yours, restore the file from a backup",
            )
        try:
            key.verify(bytes.fromhex(seal), sealed_bytes(record, head))
        except (InvalidSignature, ValueError):
            return Doubt(
                f"it does not have the seal of key {kid}: what it holds was changed, or put together"
            )
        return None
