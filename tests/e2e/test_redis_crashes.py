"""The sidecar dies, or its connection does, just before or after Redis decided; the truth is found again.

Redis decides in one step, so there are two places to crash: before the command arrived, and after it was
decided while nobody knows. The way to Redis leads through a proxy that cuts at the one or the other.
"""

import os
from collections.abc import Iterator

import pytest

from tests.support.caller import Caller, refused
from tests.support.messages import PERMITTED_PARTS, listed
from tests.support.proxy import Proxy, proxy_running
from tests.support.redis_server import redis_running
from tests.support.sidecar import SidecarProcess, sidecar_running

#: Each place is met so often by a broken connection, which is cheap, and so often by a crash.
CUTS, CRASHES = 20, 3

PLACES = pytest.mark.parametrize("when", ["before", "after"])
VERBS = pytest.mark.parametrize("verb", ["commit", "perform"])


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The way to a Redis that syncs every write."""
    with redis_running(tmp_path_factory.mktemp("redis")) as server, proxy_running(server.socket) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def sidecar(proxy: Proxy) -> Iterator[SidecarProcess]:
    """A sidecar that knows no other way to Redis."""
    with sidecar_running(store=proxy.url) as running:
        yield running


class Story:
    """A run with one action permitted, one prepared, and one about to be decided when the cut comes."""

    def __init__(self, caller: Caller, run: str, verb: str) -> None:
        self.run, self.op, self.verb = run, f"op-{os.urandom(6).hex()}", verb
        self.token = caller.begin(run)
        self.effects = {"kept": caller.perform(self.token, "kept", within=60).fence}
        caller.prepare(self.token, "waiting", ttl=600)
        if verb == "commit":
            caller.prepare(self.token, self.op, ttl=600)

    def act(self, caller: Caller) -> bool:
        """Ask for the permit and act on it; answer whether it was one given before."""
        call = caller.commit if self.verb == "commit" else caller.perform
        permit = call(self.token, self.op, within=60)
        self.effects[self.op] = permit.fence
        return bool(permit.replayed)

    def check(self, caller: Caller, decided: bool) -> None:
        """The journal has what Redis decided; every effect is in the report, and nothing of it as stopped."""
        permits = [one.op_id for one in caller.entries(self.run) if one.kind == "PERMITTED"]
        assert permits == ["kept", self.op] if decided else permits == ["kept"]
        report = caller.report(self.run)
        told = {op: action.fence for op, action in listed(report, *PERMITTED_PARTS).items()}
        assert self.effects.items() <= told.items()
        assert told.keys() == set(permits)
        assert not told.keys() & listed(report, "interrupted", "not_done", "pending").keys()

    def end(self, caller: Caller, decided: bool, cancel_first: bool) -> None:
        """Ask again, before a cancel or after it: the same decision, told truly."""
        self.check(caller, decided)
        if cancel_first:
            caller.cancel(self.run)
            with refused("REVOKED") as told:
                self.act(caller)
            assert told.details.get("prior_decision") == ("PERMITTED" if decided else None)
            self.check(caller, decided)
        else:
            assert self.act(caller) is decided, "a permit is given once"
            caller.cancel(self.run)
            self.check(caller, True)
        assert "waiting" in listed(caller.report(self.run), "interrupted")


@VERBS
@PLACES
def test_a_connection_cut_while_redis_decides_leaves_one_decision(
    proxy: Proxy, sidecar: SidecarProcess, run: str, verb: str, when: str
) -> None:
    """The caller is told to ask again; asked again, Redis tells what it had decided, or decides now."""
    with Caller(sidecar) as caller:
        for number in range(CUTS):
            story = Story(caller, f"{run}-{number}", verb)
            proxy.trap(story.op, when)
            with refused("STORE_UNAVAILABLE") as told:
                story.act(caller)
            assert told.message.endswith("do not act; ask again with the same op_id")
            assert proxy.sprung.is_set()
            story.end(caller, decided=when == "after", cancel_first=number % 2 == 0)


@VERBS
@PLACES
def test_a_sidecar_killed_while_redis_decides_leaves_one_decision(
    proxy: Proxy, sidecar: SidecarProcess, run: str, verb: str, when: str
) -> None:
    """The next sidecar, with the same keys, is told what Redis decided for the one that died."""
    for number in range(CRASHES):
        with Caller(sidecar) as caller:
            story = Story(caller, f"{run}-{number}", verb)
            proxy.trap(story.op, when, lambda: os.kill(sidecar.pid, 9))
            with refused("") as told:
                story.act(caller)
            assert told.code == "UNAVAILABLE"
        assert sidecar.wait() == -9
        assert proxy.sprung.wait(5)
        sidecar.start()
        with Caller(sidecar) as caller:
            story.end(caller, decided=when == "after", cancel_first=number % 2 == 0)


@PLACES
def test_a_cancel_cut_while_redis_decides_is_asked_again_and_cuts_once(
    proxy: Proxy, sidecar: SidecarProcess, run: str, when: str
) -> None:
    """An operator who got no answer asks again, and learns whether the first one had stopped the run."""
    with Caller(sidecar) as caller:
        for number in range(CUTS):
            story = Story(caller, f"{run}-{number}", "commit")
            proxy.trap("\r\n".join([story.run, "$9", "USER_STOP"]), when)
            with refused("STORE_UNAVAILABLE"):
                caller.cancel(story.run)
            assert proxy.sprung.is_set()
            answer = caller.cancel(story.run)
            assert answer.replayed is (when == "after")
            assert caller.kinds(story.run).count("CANCELLED") == 1
            with refused("REVOKED"):
                story.act(caller)
            assert set(listed(answer.report, "interrupted")) == {"waiting", story.op}


@PLACES
def test_a_settle_cut_while_redis_decides_is_told_as_done_only_if_it_is_on_record(
    proxy: Proxy, sidecar: SidecarProcess, run: str, when: str
) -> None:
    """What the tool said and Redis did not get is still open; said again it is written down, once."""
    with Caller(sidecar) as caller:
        for number in range(CUTS):
            story = Story(caller, f"{run}-{number}", "perform")
            story.act(caller)
            proxy.trap(story.op, when)
            with refused("STORE_UNAVAILABLE"):
                caller.settle(story.token, story.op)
            assert (story.op in listed(caller.report(story.run), "done")) is (when == "after")
            assert caller.settle(story.token, story.op).replayed is (when == "after")
            assert set(listed(caller.report(story.run), "done")) == {story.op}
            assert caller.kinds(story.run).count("SETTLED") == 1
