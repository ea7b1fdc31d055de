"""A token in a wrapper that does not give it away by accident."""

import hmac
from typing import NoReturn, Self

_SHOWN = "SecretToken(redacted)"


class SecretToken:
    """Holds a token; shows it to `reveal` only, never to a log, a format string, JSON or a pickle."""

    # Without a __dict__ there is nothing for `vars` and the encoders built on it to find.
    __slots__ = ("_value",)
    #: A token is no key of a mapping: two spellings of one grant would be two entries. Its identity is `jti`.
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Answer the token itself: for the one response that hands it over, and for verifying it."""
        return self._value

    def __eq__(self, other: object) -> bool:
        """Compare in time that does not tell how much of a guess was right."""
        if not isinstance(other, SecretToken):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __repr__(self) -> str:
        return _SHOWN

    def __format__(self, spec: str) -> str:
        # Whatever the width: a short one must not cut, a wrong one must not raise with the value at hand.
        return _SHOWN

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __getstate__(self) -> NoReturn:
        # What pickle, in all its protocols, and the encoders that imitate it ask for.
        raise TypeError("a grant token cannot be pickled; hand it over with reveal()")
