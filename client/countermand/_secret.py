"""A grant token that does not show itself."""

import hmac
from typing import NoReturn, Self

_REDACTED = "SecretToken(redacted)"


class SecretToken:
    """Keeps a grant token out of logs, prompts, JSON and pickles; only `reveal` answers it."""

    # No __dict__, so that `vars` and what builds on it find nothing.
    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        self._token = token

    def reveal(self) -> str:
        """Answer the token itself, to hand it to another process. Never show it to a model."""
        return self._token

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        if isinstance(other, SecretToken):
            return hmac.compare_digest(self._token.encode(), other._token.encode())
        return NotImplemented

    # One grant's token has more than one spelling, so a token is no key of a dictionary.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return _REDACTED

    def __format__(self, spec: str) -> str:
        return _REDACTED

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a grant token is not pickled; hand it over with reveal()")


def reveal(token: SecretToken | str) -> str:
    """The text of a token that came wrapped, or bare from the command line."""
    return token.reveal() if isinstance(token, SecretToken) else token
