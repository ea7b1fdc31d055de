# Derived from tests/client/_async/test_metered_streams.py by scripts/unasync.py. Do not edit.
"""Streams that are read under a token budget: counted with each chunk, and on record however they end."""

from collections.abc import Callable, Iterator

import grpc
import pytest

import countermand.sync as countermand
from countermand import CancellationToken, Stop, Stopped, StopReason, Usage
from countermand.testing import Sidecar
from tests.client.support import Proxy, Soon, refuse

USER = Stop(StopReason.USER_STOP, note="enough")


class Model:
    """Stands for a provider: says a token with each chunk, and what it took in the end."""

    def __init__(self, tokens: int, told: int | None = None) -> None:
        self.tokens, self.told, self.said, self.is_closed = tokens, told, 0, False
        #: Its connection takes until then to close.
        self.closes: Callable[[], bool] = lambda: True

    def stream(self) -> Iterator[object]:
        """Talk until it has said all, or is closed."""
        try:
            for _ in range(self.tokens):
                self.said += 1
                yield "a"
            if self.told is not None:
                yield {"type": "end", "usage": {"input_tokens": 7, "output_tokens": self.told}}
        finally:
            Soon.until(self.closes)
            self.is_closed = True


def drain(guarded: "countermand.GuardedStream[object]") -> None:
    """Read to the end."""
    for _ in guarded:
        pass


def spent(cm: countermand.Client, run: countermand.ActiveRun) -> dict[str, int]:
    """Answer what the sidecar knows was taken."""
    told = cm.auditor.run(run.run_id)
    return {name: one.taken for name, one in told.budgets.items()}


def spendings(cm: countermand.Client, run: countermand.ActiveRun) -> list[countermand.Entry]:
    """Answer what the journal has of them."""
    return [one for one in (cm.auditor.entries(run.run_id)).entries if one.kind == "SPENT"]


def test_it_is_stopped_where_the_budget_runs_out(real: Sidecar) -> None:
    """In mid-stream, closed, with all that came on record before the run ended."""
    model = Model(1000)
    with countermand.connect(real.home) as cm:
        with pytest.raises(Stopped) as stopped:
            with cm.open_run(budgets={"tokens_in": 500, "tokens_out": 50}) as run:
                with run.grant(scopes=["*"]):
                    tokens = countermand.token_budget(run)
                    with tokens.request(4096, input=30) as request:
                        assert request.max_tokens == 50
                        guarded = countermand.guard(model.stream(), tokens=request)
                        drain(guarded)
        end = (cm.auditor.run(run.run_id)).end
        taken = spent(cm, run)
        names = [one.op_id for one in spendings(cm, run)]

    assert stopped.value.stop_reason is StopReason.BUDGET
    assert stopped.value.note == "budget tokens_out ran out: 0 left by estimate"
    assert guarded.stop is tokens.stop is stopped.value.stop
    assert (model.said, model.is_closed, len(guarded.partial)) == (51, True, 51)
    assert guarded.took == tokens.used == Usage(30, 51, estimated=81)
    assert (guarded.not_told, tokens.held) == ("", {})
    assert taken == {"tokens_in": 30, "tokens_out": 51}
    assert end is not None
    assert end.reason is StopReason.BUDGET
    assert [name.partition(".")[2] for name in names] == ["1.estimate.tokens_in", "1.estimate.tokens_out"]


def test_a_stop_loses_nothing_that_was_streamed(real: Sidecar) -> None:
    """The sidecar is told, though the provider never said what it took."""
    token, model = CancellationToken(), Model(1000)
    with countermand.connect(real.home) as cm, cm.open_run(budgets={"tokens_out": 500}) as run:
        with run.grant(scopes=["*"]):
            tokens = countermand.token_budget()
            guarded = countermand.guard(model.stream(), until=token, tokens=tokens)
            with pytest.raises(Stopped) as stopped:
                for _ in guarded:
                    if len(guarded.partial) == 20:
                        token.cancel(USER)
            assert spent(cm, run) == {"tokens_out": 20}
            assert tokens.left == {"tokens_out": 480}

    assert stopped.value.stop is USER
    assert model.is_closed
    assert guarded.took == Usage(0, 20, estimated=20)


def test_what_came_before_the_run_was_cancelled_is_in_its_journal(real: Sidecar) -> None:
    """No budget counts it after the end, which is said."""
    with countermand.connect(real.home) as cm, cm.open_run(budgets={"tokens_out": 500}) as run:
        with run.grant(scopes=["*"]):
            tokens = countermand.token_budget()
            guarded = countermand.guard(Model(1000).stream(), until=run, tokens=tokens)
            with pytest.raises(Stopped) as stopped:
                for _ in guarded:
                    if len(guarded.partial) == 20:
                        run.cancel(reason="USER_STOP", note="enough")
                        Soon.until(lambda: guarded.stop is not None)
            assert spent(cm, run) == {"tokens_out": 0}
            refused = [one for one in (cm.auditor.entries(run.run_id)).entries if one.kind == "REFUSED"]

    assert stopped.value.stop_reason is StopReason.USER_STOP
    assert [(one.data["budget"], one.data["amount"]) for one in refused] == [("tokens_out", "20")]
    assert guarded.not_told in stopped.value.__notes__[-1]
    assert tokens.used == Usage(0, 20, estimated=20)


@pytest.mark.parametrize("leaves", ["break", "raise"])
def test_a_loop_that_is_left_is_on_record(real: Sidecar, leaves: str) -> None:
    """At the end of its block."""
    model = Model(1000)
    with countermand.connect(real.home) as cm, cm.open_run(budgets={"tokens_out": 500}) as run:
        with run.grant(scopes=["*"]):
            tokens = countermand.token_budget()
            try:
                with countermand.guard(model.stream(), tokens=tokens) as guarded:
                    for _ in guarded:
                        if leaves == "break":
                            break
                        raise ValueError("boom")
            except ValueError:
                assert leaves == "raise"
            assert spent(cm, run) == {"tokens_out": 1}


@pytest.mark.parametrize("told", [40, 90])
def test_in_the_end_the_provider_is_believed(real: Sidecar, told: int) -> None:
    """Whether that is less or more than was estimated; it is taken once, and no estimate any more."""
    with countermand.connect(real.home) as cm, cm.open_run(budgets={"tokens_out": 500}) as run:
        with run.grant(scopes=["*"]):
            tokens = countermand.token_budget()
            with tokens.request(100, input=30) as request:
                guarded = countermand.guard(Model(60, told).stream(), tokens=request)
                drain(guarded)
                assert tokens.left == {"tokens_out": 500 - told}
                assert tokens.held == {}
            assert guarded.is_complete
            assert guarded.took == tokens.used == Usage(7, told)
            assert spent(cm, run) == {"tokens_out": told}
            for take in (tokens.take, request.take):
                with pytest.raises(countermand.FixTheCall, match="counted"):
                    take(guarded)


def test_a_provider_that_tells_of_more_than_is_left_stops_the_run(real: Sidecar) -> None:
    """By its word, and not by an estimate."""
    with pytest.raises(Stopped) as stopped:
        with (
            countermand.connect(real.home) as cm,
            cm.open_run(budgets={"tokens_out": 50}) as run,
        ):
            with run.grant(scopes=["*"]):
                drain(countermand.guard(Model(10, 60).stream(), tokens=countermand.token_budget(run)))

    assert stopped.value.note == "budget tokens_out ran out: 0 left"


def test_what_is_read_beside_it_is_on_record_too(real: Sidecar) -> None:
    """Told of before the run is ended, though its connection is slow to close: then nothing can be spent."""
    model, ended = Model(1000), list[bool]()
    model.closes = lambda: bool(ended)
    with countermand.connect(real.home) as cm, cm.open_run() as run:
        with run.grant(scopes=["*"]):
            tokens = countermand.token_budget(run, limits={"tokens_out": 50})
            beside = countermand.guard(model.stream(), tokens=tokens)
            with pytest.raises(Stopped):
                for _ in beside:
                    if len(beside.partial) == 20:
                        with pytest.raises(Stopped):
                            drain(countermand.guard(Model(1000).stream(), tokens=tokens))
                        ended.append(True)
            amounts = [one.data["amount"] for one in spendings(cm, run)]

    assert amounts == ["20", "31"]
    assert beside.stop is tokens.stop
    assert (beside.not_told, len(beside.partial)) == ("", 20)


def test_a_budget_that_has_run_out_reads_nothing(real: Sidecar) -> None:
    """What was opened all the same is closed."""
    model = Model(1000)
    tokens = countermand.token_budget(limits={"tokens_out": 5}, shared=False)
    with pytest.raises(Stopped):
        tokens.take(Usage(0, 6))
    guarded = countermand.guard(model.stream(), tokens=tokens)
    with pytest.raises(Stopped):
        drain(guarded)

    assert (model.said, guarded.stop, tokens.used) == (0, tokens.stop, Usage(0, 6))


def test_what_the_sidecar_may_not_know_is_said(proxy: Proxy) -> None:
    """A whole stream fails by it, as `take` does; a stop has it in a note."""
    token = CancellationToken()
    with (
        countermand.connect(proxy.home) as cm,
        cm.open_run(budgets={"tokens_out": 500}) as run,
    ):
        with run.grant(scopes=["*"]):
            tokens = countermand.token_budget()
            proxy.plan("SpendBudget", *[refuse("RUN_FULL", grpc.StatusCode.RESOURCE_EXHAUSTED)] * 2)
            whole = countermand.guard(Model(10).stream(), tokens=tokens)
            with pytest.raises(countermand.CountermandError):
                drain(whole)
            cut = countermand.guard(Model(10).stream(), until=token, tokens=tokens)
            with pytest.raises(Stopped) as stopped:
                for _ in cut:
                    token.cancel(USER)
            assert tokens.left == {"tokens_out": 489}  # it counts here all the same

    assert whole.is_complete
    assert whole.not_told
    assert cut.not_told in stopped.value.__notes__[-1]


def test_a_request_that_was_not_answered_takes_nothing(real: Sidecar) -> None:
    """What was held for it is free again; and a request has one answer."""
    tokens = countermand.token_budget(limits={"tokens_out": 100}, shared=False)
    with pytest.raises(ConnectionError):
        with tokens.request(80) as request:
            assert tokens.held == {"tokens_out": 80}
            raise ConnectionError("no provider")
    assert (tokens.held, tokens.left, tokens.used) == ({}, {"tokens_out": 100}, Usage())

    with tokens.request(80) as request:
        assert request.take(Usage(5, 20)) == Usage(5, 20)
        assert (tokens.held, tokens.left) == ({}, {"tokens_out": 80})
        with pytest.raises(countermand.FixTheCall, match="has its answer"):
            request.take(Usage(5, 20))
        with pytest.raises(countermand.FixTheCall, match="made once"):
            with request:
                pass
    with pytest.raises(countermand.FixTheCall, match="nothing is held"):
        tokens.request(80).max_tokens  # noqa: B018 - it is refused
    with pytest.raises(countermand.FixTheCall, match="for tokens"):
        tokens.request(0)
