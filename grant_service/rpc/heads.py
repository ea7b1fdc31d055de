"""Signed heads of journals: signing is for the key that also signs grants, in a domain of its own."""

from collections.abc import Iterable

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countermand.v1 import journal_service_pb2 as pb
from grant_service.core.evidence import Head, signed_bytes
from grant_service.core.report import Report
from grant_service.rpc.encode import moment
from grant_service.tokens.keys import Keyring


class HeadSigner:
    """Signs heads, and names the keys by which they are verified."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def heads(self, report: Report) -> list[pb.SignedHead]:
        """Sign the heads of a report."""
        return [self.signed(head, report.time, report.epoch) for head in report.heads]

    def signed(self, head: Head, time: int, epoch: str) -> pb.SignedHead:
        """Sign a head."""
        key = self._keyring.signing
        return pb.SignedHead(
            run_id=head.run_id,
            last_seq=head.last_seq,
            entry_count=head.entry_count,
            hash=head.hash,
            marks=head.marks,
            stride=head.stride,
            time=moment(time),
            store_epoch=epoch,
            key_id=key.kid,
            signature=key.private_key.sign(signed_bytes(head, time, epoch, key.kid)),
        )

    def keys(self) -> Iterable[pb.EvidenceKey]:
        """Name the public keys, the one that signs first, those that are retired last."""
        ring = self._keyring
        public = {ring.signing.kid: ring.verifying[ring.signing.kid], **ring.verifying}
        for kid, key in (
            public | {kid: key for kid, key in ring.retired.items() if kid not in public}
        ).items():
            raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
            yield pb.EvidenceKey(key_id=kid, public_key=raw, signing=kid == ring.signing.kid)
