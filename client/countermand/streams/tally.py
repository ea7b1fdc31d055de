"""What a stream has taken so far: what its provider told, and an estimate of what it has not told yet."""

from collections.abc import Callable

from countermand._errors import FixTheCall
from countermand.streams.saying import said_of
from countermand.streams.usage import Told, Usage

#: Counts the tokens of a piece of text.
CountsTokens = Callable[[str], int]

#: Bytes of UTF-8 that an estimate takes for one token. Prose has 3 to 5 of them: mostly it counts too many.
BYTES = 3


class Tally:
    """Counts a stream chunk by chunk.

    A count of the provider's covers all that came before it. What came since is counted by `count`, or else
    as a token for every 3 bytes, and for each chunk one at least.
    """

    def __init__(self, count: CountsTokens | None, input: int) -> None:
        self._given, self._input = count, input
        self._told = Told()
        self._told_output = 0
        self._clear()

    def _clear(self) -> None:
        self._chunks = self._bytes = self._counted = 0

    def add(self, chunk: object) -> None:
        """Count one chunk more."""
        said = said_of(chunk)
        if said is None or said:
            self._chunks += 1
            self._bytes += len((said or "").encode(errors="replace"))
        self._told.add(chunk)
        told = self._told.usage
        if told is not None and told.output > self._told_output:  # one that has not grown has not heard of it
            self._told_output = told.output
            self._clear()
        elif said is None:
            self._counted += 1
        elif said and self._given is not None:
            self._counted += self._asked(self._given, said)

    def _asked(self, count: CountsTokens, said: str) -> int:
        self._given = None  # one that fails is asked no more: then all of it is estimated
        tokens = count(said)
        if type(tokens) is not int or tokens < 0:
            raise FixTheCall(f"count= has to answer how many tokens a text has; not {tokens!r}")
        self._given = count
        return tokens

    @property
    def usage(self) -> Usage:
        """All of it, and how much is estimated: the prompt as well, as its request said, until it is told."""
        told = self._told.usage or Usage()
        pending = self._counted if self._given else max(self._chunks, -(-self._bytes // BYTES))
        input = 0 if told.input else self._input
        return told + Usage(input, pending, estimated=input + pending)
