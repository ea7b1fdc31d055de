"""The key directory: one Ed25519 private key per file, and one file that says which of them signs.

    keys/            0700
      <kid>.pem      0600; PKCS8. Verifies the grants it signed for as long as it is there.
      <kid>.pub      0600; the public half of a key that has signed. By it, and by nothing else, one can
                     verify evidence that the key signed, after its private half was removed.
      signing        0600; the kid of the key that signs new grants.

The key that signs is the one named, not the newest: so a key can be copied to every host before it signs on
any. An old key can be removed once it has not signed for longer than a grant lives; what it signed is refused
from the next start on.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from grant_service.tokens.private_dir import KeysUnfit, PrivateDir, private_dir

_log = structlog.get_logger()

_KID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_SIGNING = "signing"
_SUFFIX = ".pem"
_PUBLIC = ".pub"


@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """The key that signs. It cannot be pickled: its private part exists in this process and in its file."""

    kid: str
    private_key: Ed25519PrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Keyring:
    """One key that signs, and all that verify, by kid; the first is always among the second.

    Those that are retired verify no grant any more, only evidence.
    """

    signing: SigningKey
    verifying: Mapping[str, Ed25519PublicKey]
    retired: Mapping[str, Ed25519PublicKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(_KID.fullmatch(kid) for kid in self.verifying):
            raise ValueError(f"a kid must match {_KID.pattern}")
        if self.verifying.get(self.signing.kid) != self.signing.private_key.public_key():
            raise ValueError(f"the signing key {self.signing.kid} is not among those that verify")
        object.__setattr__(self, "verifying", MappingProxyType(dict(self.verifying)))
        object.__setattr__(self, "retired", MappingProxyType(dict(self.retired)))


def load_or_create(path: Path) -> Keyring:
    """Answer the keys of a directory, after making its first one if it has none; raises KeysUnfit."""
    with private_dir(path, create=True) as directory:
        names = directory.names()
        # `signing` without any key means that keys were removed: that is not a first start.
        if _SIGNING not in names and not _kids(names):
            directory.put(_SIGNING, _add_key(directory).encode())
        return _load(directory)


def rotate(path: Path) -> Keyring:
    """Add a key that signs from now on, while all others go on verifying; raises KeysUnfit.

    A running service goes on with the keys it has loaded until it is started again.
    """
    with private_dir(path) as directory:
        # Said again before a second key is there: a first start that crashed has not said it yet, and with
        # two keys it would be open which one signs.
        directory.put(_SIGNING, _load(directory).signing.kid.encode())
        directory.put(_SIGNING, _add_key(directory).encode())
        return _load(directory)


def _add_key(directory: PrivateDir) -> str:
    kid = f"k-{secrets.token_hex(8)}"
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    directory.put(kid + _SUFFIX, pem)
    return kid


def _load(directory: PrivateDir) -> Keyring:
    names = directory.names()
    keys = {kid: _key(directory, kid) for kid in _kids(names)}
    signing = _signing(directory, names, list(keys))
    public = {kid: key.public_key() for kid, key in keys.items()}
    kept = {kid: _public_key(directory, kid, public.get(kid)) for kid in _kids(names, _PUBLIC)}
    if signing not in kept:
        _keep_public(directory, signing, public[signing])
    retired = {kid: key for kid, key in kept.items() if kid not in public}
    return Keyring(SigningKey(signing, keys[signing]), public, retired)


def _kids(names: list[str], suffix: str = _SUFFIX) -> list[str]:
    return [name.removesuffix(suffix) for name in names if name.endswith(suffix)]


def _keep_public(directory: PrivateDir, kid: str, key: Ed25519PublicKey) -> None:
    """Put the public half beside a key that signs from now on, where the directory can be written at all."""
    try:
        directory.put(kid + _PUBLIC, key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    except OSError as error:
        remedy = (
            f"keep it yourself before {kid}{_SUFFIX} is removed: nothing else verifies what the key signed"
        )
        _log.warning("public key not kept", file=kid + _PUBLIC, cause=error.strerror, remedy=remedy)


def _public_key(directory: PrivateDir, kid: str, of: Ed25519PublicKey | None) -> Ed25519PublicKey:
    """Read a public half; it must be that of the key beside it, if there is one."""
    path = directory.path(kid + _PUBLIC)
    try:
        key = load_pem_public_key(directory.read(kid + _PUBLIC))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not _KID.fullmatch(kid) or not isinstance(key, Ed25519PublicKey):
        raise KeysUnfit(
            path, "must hold an Ed25519 public key (PEM), and be named by its kid", "mv {0} {0}.old"
        )
    if of not in (None, key):
        raise KeysUnfit(path, "is not the public half of the key beside it", "mv {0} {0}.old")
    return key


def _key(directory: PrivateDir, kid: str) -> Ed25519PrivateKey:
    path = directory.path(kid + _SUFFIX)
    if not _KID.fullmatch(kid):
        raise KeysUnfit(path, "must be named by 1 to 32 letters, digits, - or _", "mv {0} {0}.old")
    key = _private_key(directory.read(kid + _SUFFIX))
    if key is None:
        rule = "must hold an unencrypted Ed25519 private key (PEM, PKCS8)"
        raise KeysUnfit(path, rule, "mv {0} {0}.old")
    return key


def _private_key(pem: bytes) -> Ed25519PrivateKey | None:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PrivateKey) else None


def _signing(directory: PrivateDir, names: list[str], kids: list[str]) -> str:
    """Tell which key signs. Only a first start that crashed names none, and then there is just one."""
    if _SIGNING not in names and len(kids) == 1:
        return kids[0]
    said = directory.read(_SIGNING).decode("ascii", "replace").strip() if _SIGNING in names else ""
    if said in kids:
        return said
    path = directory.path(_SIGNING)
    if not kids:
        raise KeysUnfit(path, "names a key, but none is left; without it a new one is made", "rm {0}")
    rule = f"must name the one key that signs, of {', '.join(kids)}"
    raise KeysUnfit(path, rule, f"(umask 077 && printf %s {kids[-1]} > {{0}})")
