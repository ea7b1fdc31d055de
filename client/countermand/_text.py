"""Lines of text that the sidecar takes."""

import unicodedata

_LONGEST = 300  # characters: what the sidecar keeps of a note or a receipt
_NOT_A_LINE = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})


def line(text: object) -> str:
    """Make one line of it, cut to what the sidecar keeps: to lose an outcome over its note would be worse."""
    kept = str(text)[: _LONGEST + 1]
    plain = "".join(" " if unicodedata.category(letter) in _NOT_A_LINE else letter for letter in kept)
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"


def kind_of(error: BaseException) -> str:
    """Name an exception's type. Its text stays here: it may hold what the tool was working on."""
    return type(error).__qualname__
