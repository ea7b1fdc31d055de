"""What verified is remembered: boundedly, under the whole token, and nothing else is."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from grant_service.core.errors import Refused
from grant_service.tokens import verify
from grant_service.tokens.keys import Keyring, SigningKey
from grant_service.tokens.verify import Verifier
from tests.tokens.support import KEY, KEYRING, KID, b64, token

TOKENS = [token(f"g-{number}") for number in range(12)]


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signature was checked, in order: those that were not remembered."""
    seen: list[str] = []
    real = verify._signed_payload

    def watched(presented: str, key: object) -> bytes | None:
        seen.append(presented)
        return real(presented, key)  # type: ignore[arg-type]

    monkeypatch.setattr(verify, "_signed_payload", watched)
    return seen


def test_a_token_is_checked_once(checked: list[str]) -> None:
    """The second time it is looked up, and the answer is the same."""
    verifier = Verifier(KEYRING)
    answers = {verifier.verify("".join(list(TOKENS[0]))) for _ in range(5)}
    assert checked == [TOKENS[0]]
    assert len(answers) == 1


def test_as_many_as_allowed_are_remembered(checked: list[str]) -> None:
    """The next one takes the place of that which was not used for longest."""
    verifier = Verifier(KEYRING, capacity=3)
    for presented in (*TOKENS[:3], TOKENS[0], TOKENS[3]):
        verifier.verify(presented)
    checked.clear()
    for presented in (TOKENS[0], TOKENS[2], TOKENS[3]):
        verifier.verify(presented)
    assert checked == []
    verifier.verify(TOKENS[1])
    assert checked == [TOKENS[1]]


def test_memory_stays_bounded() -> None:
    """However many tokens pass, no more than the capacity are held."""
    verifier = Verifier(KEYRING, capacity=5)
    for presented in TOKENS:
        verifier.verify(presented)
    assert list(verifier._verified) == TOKENS[-5:]


def test_a_refused_token_is_not_remembered(checked: list[str]) -> None:
    """It is checked each time it comes, and it pushes no good one out."""
    verifier = Verifier(KEYRING, capacity=1)
    verifier.verify(TOKENS[0])
    bad = TOKENS[1][:-2] + ("AA" if TOKENS[1][-2:] != "AA" else "gA")
    for _ in range(3):
        with pytest.raises(Refused):
            verifier.verify(bad)
    verifier.verify(TOKENS[0])
    assert checked == [TOKENS[0], bad, bad, bad]


@pytest.mark.parametrize("cut", ["signature", "payload", "last letter", "end"])
def test_a_forged_token_is_refused_beside_its_remembered_model(cut: str) -> None:
    """Sharing a beginning, an end or all but one letter with a verified token is worth nothing."""
    verifier = Verifier(KEYRING)
    verifier.verify(TOKENS[0])
    header, payload, signature = TOKENS[0].split(".")
    forged = {
        "signature": f"{header}.{payload}.{b64(bytes(64))}",
        "payload": f"{header}.{TOKENS[1].split('.')[1]}.{signature}",
        "last letter": TOKENS[0][:-1] + ("A" if TOKENS[0][-1] != "A" else "Q"),
        "end": f"{TOKENS[0]}A",
    }[cut]
    with pytest.raises(Refused):
        verifier.verify(forged)


def test_other_keys_remember_nothing_of_these() -> None:
    """What a retired key signed is not known to the verifier made without it."""
    other = Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34)))
    Verifier(KEYRING).verify(TOKENS[0])
    with pytest.raises(Refused):
        Verifier(Keyring(SigningKey(KID, other), {KID: other.public_key()})).verify(TOKENS[0])


def test_changing_the_keys_given_does_not_change_a_verifier() -> None:
    """A keyring is what it was when it was made: no key slips in through the mapping it was made from."""
    keys = {KID: KEY.public_key()}
    keyring = Keyring(SigningKey(KID, KEY), keys)
    keys.clear()
    assert Verifier(keyring).verify(TOKENS[0]).grant_id == "g-0"
    with pytest.raises(TypeError):
        keyring.verifying["other"] = KEY.public_key()  # type: ignore[index]
