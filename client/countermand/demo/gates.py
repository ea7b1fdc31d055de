"""What stands between a tool and the outside world: nothing, or Countermand.

Both have the same face, so that the agent, its tools and the queue worker are one program in both stories.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import countermand.sync as countermand
from countermand import Intent, Outcome, SecretToken, digest
from countermand.demo.errands import Errand


class Act(Protocol):
    """An effect that is intended, and may happen inside `commit`."""

    receipt: object

    def commit(self) -> AbstractContextManager[object]: ...

    def undo_with(self, /, **args: object) -> None: ...

    def accepted(self, *, handle: object, canceller: str) -> None: ...


class Gate(Protocol):
    """How a tool comes to its effect."""

    def intend(self, errand: Errand) -> AbstractContextManager[Act]:
        """Intend an effect in this process."""

    def hand_over(self, errand: Errand) -> str:
        """Intend an effect that another process is to have; answer what that process needs."""

    def take_over(self, errand: Errand, handed: str) -> AbstractContextManager[Act]:
        """Take up, in the other process, what was handed over."""


@dataclass(slots=True)
class Free:
    """An effect that asks nobody."""

    receipt: object = ""

    def commit(self) -> AbstractContextManager[object]:
        """Go ahead."""
        return nullcontext()

    def undo_with(self, /, **args: object) -> None:
        """Nobody will undo it."""

    def accepted(self, *, handle: object, canceller: str) -> None:
        """Nobody will call it off."""


class NoGate:
    """Every tool acts when it likes."""

    def intend(self, errand: Errand) -> AbstractContextManager[Act]:
        """Intend an effect in this process."""
        return nullcontext(Free())

    def hand_over(self, errand: Errand) -> str:
        """Intend an effect that another process is to have."""
        return ""

    def take_over(self, errand: Errand, handed: str) -> AbstractContextManager[Act]:
        """Take up what was handed over."""
        return nullcontext(Free())


class Countermand:
    """Every effect passes prepare and commit. The grant's token came with the order, not through a model."""

    def __init__(self, client: countermand.Client, token: SecretToken | None = None) -> None:
        self._client = client
        self._token = token

    @contextmanager
    def intend(self, errand: Errand) -> Iterator[Act]:
        """Intend an effect in this process: prepared here, committed by the tool, settled on the way out."""
        with (
            self._client.use_token(self._held),
            countermand.action(
                errand.action,
                resource=errand.resource,
                args=errand.args,
                op_id=errand.op_id,
                reversibility=errand.reversibility,
                compensation=errand.compensation,
            ) as act,
        ):
            yield act

    @property
    def _held(self) -> SecretToken:
        if self._token is None:
            raise LookupError("no grant was handed to this process")
        return self._token

    def hand_over(self, errand: Errand) -> str:
        """Intend an effect that another process is to have: prepared here; the grant travels with the job."""
        intent = Intent.of(
            errand.action,
            resource=errand.resource,
            args=errand.args,
            op_id=errand.op_id,
            reversibility=errand.reversibility,
            compensation=errand.compensation,
        )
        self._client.tool.prepare(self._held, intent)
        return self._held.reveal()

    @contextmanager
    def take_over(self, errand: Errand, handed: str) -> Iterator[Act]:
        """Take up, in the other process, what was prepared: it asks again before it acts."""
        act = HandedOver(self._client, errand, SecretToken(handed))
        yield act


class HandedOver:
    """An effect that one process prepared and another one commits."""

    def __init__(self, client: countermand.Client, errand: Errand, token: SecretToken) -> None:
        self._client, self._errand, self._token = client, errand, token
        self.receipt: object = ""

    def undo_with(self, /, **args: object) -> None:
        """The worker's one errand has nothing to undo it."""

    def accepted(self, *, handle: object, canceller: str) -> None:
        """Nor is it a job of somebody else's."""

    @contextmanager
    def commit(self) -> Iterator[object]:
        """Ask, let it happen, and tell what became of it."""
        tool, op_id = self._client.tool, self._errand.op_id
        yield tool.commit(self._token, op_id, digest(self._errand.args))
        tool.settle(self._token, op_id, Outcome.SUCCEEDED, receipt=str(self.receipt))
