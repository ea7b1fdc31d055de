"""A token, and a private key, are never shown by accident."""

import base64
import copy
import dataclasses
import io
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from grant_service.core.errors import Refused, explain
from grant_service.tokens.secret import SecretToken
from grant_service.tokens.verify import Verifier
from tests.tokens.support import HEADER, KEY, KEYRING, b64, claims_with, forge, header_with, token

CANARY = "canary-" + "x" * 20


@dataclasses.dataclass
class Issued:
    """Something that holds a secret, as an answer would."""

    secret: Any


def logged(value: object) -> str:
    """What the standard logger writes."""
    stream = io.StringIO()
    record = logging.LogRecord("n", logging.INFO, "p", 1, "got %s %r", (value, value), None)
    logging.StreamHandler(stream).emit(record)
    return stream.getvalue()


def logged_as_json(value: object) -> str:
    """What the structured logger writes."""
    return str(structlog.processors.JSONRenderer()(None, "info", {"event": "e", "value": value}))


def traced(value: object) -> str:
    """A traceback with the values of local variables, as crash reporters write it."""
    try:
        raise RuntimeError(f"failed with {value}")
    except RuntimeError as error:
        frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(frames.format())


SHOWN: dict[str, Callable[[Any], str]] = {
    "repr": repr,
    "str": str,
    "ascii": ascii,
    "format": format,
    "wide format": lambda value: f"{value:>500}",
    "narrow format": lambda value: f"{value:.3}",
    "nonsense format": lambda value: f"{value:d}",
    "f-string": lambda value: f"{value} {value!s} {value!r} {value=}",
    "percent": lambda value: "%s %r" % (value, value),  # noqa: UP031 - one of the ways there are
    "pprint": pprint.pformat,
    "in a list": lambda value: str([value, {"k": value}]),
    "in a dataclass": lambda value: str(Issued(value)),
    "as a dict": lambda value: str(dataclasses.asdict(Issued(value))),
    "copied": lambda value: repr([copy.copy(value), copy.deepcopy(value)]),
    "json as text": lambda value: json.dumps(value, default=str),
    "log": logged,
    "structured log": logged_as_json,
    "traceback": traced,
    "directory": lambda value: str(dir(value)),
}


@pytest.mark.parametrize("way", SHOWN)
def test_j11_a_token_is_not_shown(way: str) -> None:
    """By none of the ways in which values end up in text."""
    shown = SHOWN[way](SecretToken(CANARY))
    assert shown
    assert "canary" not in shown
    assert way == "directory" or "SecretToken(redacted)" in shown


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_j11_a_token_is_not_pickled(protocol: int) -> None:
    """In no protocol, nor inside something else."""
    for holder in (SecretToken(CANARY), [SecretToken(CANARY)], Issued(SecretToken(CANARY))):
        with pytest.raises(TypeError, match="grant token cannot be pickled") as caught:
            pickle.dumps(holder, protocol)
        assert "canary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "way", [json.dumps, vars, bytes, list, len, hash, lambda value: json.dumps(value, default=vars)]
)
def test_j11_a_token_has_no_other_way_out(way: Callable[[Any], object]) -> None:
    """It is no text, no sequence, no key, and has no dictionary."""
    with pytest.raises(TypeError) as caught:
        way(SecretToken(CANARY))
    assert "canary" not in str(caught.value)


def test_j11_a_token_can_be_revealed_and_compared() -> None:
    """On purpose it can be had; two of the same are equal, also as copies."""
    secret = SecretToken(CANARY)
    assert secret.reveal() == CANARY
    assert secret == SecretToken(CANARY) == copy.deepcopy(secret)
    assert secret != SecretToken(CANARY + "x")
    assert secret != CANARY
    assert SecretToken("ä") == SecretToken("ä")


def test_j11_comparing_is_left_to_a_constant_time_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of both goes there, once."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return False

    monkeypatch.setattr("hmac.compare_digest", compare)
    assert SecretToken("left") != SecretToken("right")
    assert compared == [(b"left", b"right")]


def bad_tokens() -> list[str]:
    """One for each place where a token is refused, with a canary wherever one fits."""
    good = forge(claims=claims_with(sub=CANARY))
    header, payload, signature = good.split(".")
    return [
        good + "." + CANARY,
        good * 20,
        f"{header}.{payload}.{signature[:-1]}",
        f"{header}.{payload}.{b64(bytes(64))}",
        forge(header_with(kid=CANARY)),
        forge(header_with(alg=CANARY)),
        forge(header_with(typ=CANARY)),
        forge({**HEADER, CANARY: CANARY}),
        forge(b"{" + CANARY.encode()),
        forge(b"\xff" + CANARY.encode()),
        forge(header_with(kid=[CANARY])),
        forge(claims=b'{"' + CANARY.encode()),
        forge(claims=b"\xff" + CANARY.encode()),
        forge(claims=b'{"' + CANARY.encode() + b'":NaN}'),
        forge(claims=b"[" * 1_500 + b'"' + CANARY.encode()),
        *(
            forge(claims=claims_with(**{name: [CANARY]}))
            for name in ("aud", "sub", "iss", "jti", "run", "exp")
        ),
        forge(claims=claims_with(iss=CANARY)),
        forge(claims=claims_with(jti=CANARY + " ")),
        forge(claims=claims_with(anc=[CANARY, CANARY])),
        forge(claims={**claims_with(), CANARY: CANARY}),
        forge(claims={CANARY: CANARY}),
    ]


@pytest.mark.parametrize("bad", bad_tokens(), ids=range(len(bad_tokens())))
def test_j11_a_refusal_holds_no_part_of_the_token(bad: str) -> None:
    """Not in its text, its details or its traceback; and no exception of a decoder hangs on it, which would
    carry the text that it could not read."""
    with pytest.raises(Refused) as caught:
        Verifier(KEYRING).verify(bad)
    raised = caught.value
    assert raised.__cause__ is None
    assert raised.__context__ is None
    told = f"{raised!r} {raised} {raised.args} {raised.refusal} {explain(raised.refusal)}"
    told += "".join(traceback.format_exception(raised))
    assert "canary" not in told
    assert not any(bad[start : start + 12] in told for start in range(len(bad) - 12))


def test_j11_a_verifier_does_not_show_what_it_remembers() -> None:
    """Nor what it verified with."""
    verifier = Verifier(KEYRING)
    verifier.verify(token())
    assert token() not in f"{verifier} {verifier!r}"
    with pytest.raises(TypeError):
        pickle.dumps(verifier)


def private_spellings() -> list[str]:
    """The fixed private key in the spellings in which it could leak."""
    raw = KEY.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return [
        raw.hex(),
        repr(raw),
        str(list(raw)),
        base64.b64encode(raw).decode(),
        pem.splitlines()[1],
        "PRIVATE",
    ]


@pytest.mark.parametrize(
    "way", [way for way in SHOWN if way not in ("copied", "as a dict") and "format" not in way]
)
def test_j11_a_private_key_is_not_shown(way: str) -> None:
    """Neither by a keyring nor by its signing key."""
    for value in (KEYRING, KEYRING.signing):
        shown = SHOWN[way](value)
        assert not [spelling for spelling in private_spellings() if spelling in shown]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_j11_a_private_key_is_not_pickled(protocol: int) -> None:
    """It exists in its process and in its file."""
    for value in (KEYRING, KEYRING.signing):
        with pytest.raises((TypeError, pickle.PicklingError)):
            pickle.dumps(value, protocol)
