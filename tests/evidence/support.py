"""A key, heads as a client gets them, and journals to fold."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countermand import EvidenceKey, SignedHead, _wire
from countermand import evidence as client
from grant_service.core.journal import Entry
from grant_service.core.report import Report
from grant_service.rpc import encode
from grant_service.rpc.heads import HeadSigner
from grant_service.tokens.keys import Keyring, SigningKey
from tests.docs.pages import page

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = HeadSigner(Keyring(SigningKey("k-1", KEY), {"k-1": KEY.public_key()}))
KEYS = (EvidenceKey("k-1", KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), True),)


def vector() -> dict[str, Any]:
    """The test vector of docs/evidence.md: whoever writes another verifier can check it by the same."""
    (block,) = [block for block in page("docs/evidence.md").blocks if block.info == "json"]
    told: dict[str, Any] = json.loads(block.text)
    return told


def spelled() -> list[str]:
    """The canonical spellings that the page shows: two entries, and what is signed of the head."""
    *_, block = [block for block in page("docs/evidence.md").blocks if block.info == "text"]
    return block.text.splitlines()


def signed(report: Report) -> tuple[SignedHead, ...]:
    """The heads of a report, as a client gets them."""
    message = encode.report(report)
    message.heads.extend(SIGNER.heads(report))
    return _wire.report(message).heads


def lines(entries: Iterable[Entry]) -> list[client.Line]:
    """Entries as a client gets them: what the wire does to them is part of the way."""
    return [client.line(_wire.entry(encode.entry(one))) for one in entries]


def fault(head: SignedHead, told: Sequence[client.Line]) -> client.Fault | None:
    """What a verifier says of a journal."""
    return client.signature_fault(head, KEYS) or client.journal_fault(head, told)
