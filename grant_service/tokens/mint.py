"""Minting: a grant's facts become the token that points to it."""

import json

from jwt import PyJWS

from grant_service.core.grant import GrantRef
from grant_service.tokens import claims
from grant_service.tokens.keys import Keyring
from grant_service.tokens.secret import SecretToken

_JWS = PyJWS(algorithms=[claims.ALGORITHM])


def mint(
    keyring: Keyring,
    *,
    grant_id: str,
    run_id: str,
    ancestors: tuple[str, ...],
    audience: str,
    subject: str,
    issue_time: int,
    expire_time: int,
    chain: tuple[str, ...] = (),
) -> SecretToken:
    """Sign a token for a grant; the same grant and key give the same token. Times in milliseconds.

    Raises ValueError for facts that `Verifier` would refuse: a bug in the caller, not an answer to a client.
    """
    if not 0 < expire_time - issue_time <= claims.MAX_LIFE_MS:
        raise ValueError(f"a grant lasts 1 to {claims.MAX_LIFE_MS} ms, not {expire_time - issue_time}")
    ref = GrantRef(grant_id, run_id, ancestors, audience, subject, chain)
    said = claims.write(ref, issue_time, expire_time)
    rule = claims.fault(said)
    if rule:
        raise ValueError(f"no token for grant {grant_id}: {rule}")
    token = _sign(keyring, said)
    if len(token) > claims.MAX_SIZE:
        raise ValueError(f"the token of grant {grant_id} has {len(token)} characters, over {claims.MAX_SIZE}")
    return SecretToken(token)


def _sign(keyring: Keyring, said: dict[str, object]) -> str:
    # Sorted and without spaces: a repeated issue answers the same bytes, as Ed25519 draws no randomness.
    payload = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    headers = {"typ": claims.TYPE, "kid": keyring.signing.kid}
    return _JWS.encode(payload, keyring.signing.private_key, algorithm=claims.ALGORITHM, headers=headers)
