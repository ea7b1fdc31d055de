"""How the tokens of a stream are counted while it is read: as told, and by an estimate until then."""

from typing import Any

import pytest

from countermand import FixTheCall, Price, Usage
from countermand.streams.account import Account
from countermand.streams.ledger import Hold, Ledger
from countermand.streams.saying import said_of
from countermand.streams.tally import Tally


def chat(text: str = "", **more: Any) -> dict[str, Any]:
    """Write a chunk of openai's."""
    return {"id": "c", "choices": [{"delta": {"content": text}}]} | more


def start(identity: str, given: int, output: int) -> dict[str, Any]:
    """Write the first event of an answer of anthropic's."""
    usage = {"input_tokens": given, "output_tokens": output}
    return {"type": "message_start", "message": {"id": identity, "usage": usage}}


def says(text: str) -> dict[str, Any]:
    """Write an event of anthropic's."""
    return {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}


def delta(output: int) -> dict[str, Any]:
    """Write the last event of anthropic's that counts."""
    return {"type": "message_delta", "usage": {"output_tokens": output}}


def tallied(*chunks: object, given: int = 0, count: Any = None) -> Usage:
    """Answer what chunks come to."""
    tally = Tally(count, given)
    for chunk in chunks:
        tally.add(chunk)
    return tally.usage


CALL = [{"function": {"name": "pay", "arguments": '{"to"'}}]


@pytest.mark.parametrize(
    ("chunk", "said"),
    [
        ("a", "a"),
        (b"a", "a"),
        (chat("a"), "a"),
        ({"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]}, "ab"),
        ({"choices": [{"delta": {"content": None, "tool_calls": CALL}}]}, 'pay{"to"'),
        ({"choices": [{"delta": {"reasoning_content": "hm", "refusal": "no"}}]}, "nohm"),
        ({"choices": []}, ""),
        ({"type": "response.output_text.delta", "delta": "a"}, "a"),
        ({"type": "response.function_call_arguments.delta", "delta": "{"}, "{"),
        ({"type": "response.reasoning_summary_text.delta", "delta": "hm"}, "hm"),
        ({"type": "response.output_text.done", "text": "aaa"}, ""),
        ({"type": "raw_response_event", "data": {"type": "response.output_text.delta", "delta": "a"}}, "a"),
        ({"type": "run_item_stream_event", "item": {}}, ""),
        (says("a"), "a"),
        ({"type": "content_block_delta", "delta": {"thinking": "hm"}}, "hm"),
        ({"type": "content_block_delta", "delta": {"partial_json": "{"}}, "{"),
        ({"type": "text", "text": "a", "snapshot": "aa"}, ""),  # anthropic says the same again
        ({"event_kind": "part_start", "part": {"part_kind": "thinking", "content": "hm"}}, "hm"),
        ({"event_kind": "part_delta", "delta": {"args_delta": "{"}}, "{"),
        ({"event_kind": "final_result"}, ""),
        ({"type": "AIMessageChunk", "content": [{"type": "thinking", "thinking": "hm"}, "b"]}, "hmb"),
        ({"type": "AIMessageChunk", "content": "", "tool_call_chunks": [{"args": "{"}]}, "{"),
        ({"odd": 1}, None),
        (7, None),
    ],
)
def test_all_that_a_model_makes_is_counted(chunk: object, said: str | None) -> None:
    """Thoughts and arguments are paid for, too; what is said again is not."""
    assert said_of(chunk) == said


def test_an_estimate_takes_three_bytes_for_a_token_and_a_token_for_a_chunk() -> None:
    """Whichever is more; and it is called one."""
    assert tallied("a", "b", "c") == Usage(0, 3, estimated=3)
    assert tallied("good morning") == Usage(0, 4, estimated=4)
    assert tallied("早上好") == Usage(0, 3, estimated=3)
    assert tallied("") == Usage()
    assert tallied({"odd": 1}, 7) == Usage(0, 2, estimated=2)


def test_a_prompt_is_taken_at_what_was_said_of_it_until_it_is_told() -> None:
    """Then that is true."""
    assert tallied("a", given=40) == Usage(40, 1, estimated=41)
    assert tallied(start("m", 50, 1), given=40) == Usage(50, 1)


def test_what_the_provider_tells_replaces_the_estimate_of_what_came_before() -> None:
    """Nothing is counted twice, and what comes after it is estimated again."""
    said = [says("good morning")] * 10
    assert tallied(*said) == Usage(0, 40, estimated=40)
    assert tallied(start("m", 7, 1), *said) == Usage(7, 41, estimated=40)
    assert tallied(start("m", 7, 1), *said, delta(25)) == Usage(7, 25)
    assert tallied(start("m", 7, 1), *said, delta(25), says("bye")) == Usage(7, 26, estimated=1)


def test_a_provider_that_tells_with_each_chunk_is_believed_each_time() -> None:
    """As some do that speak as openai does."""
    counts = [chat("good morning", usage={"prompt_tokens": 5, "completion_tokens": n}) for n in (2, 4, 6)]
    assert tallied(*counts) == Usage(5, 6)


def test_a_count_that_does_not_grow_has_not_heard_of_the_text() -> None:
    """A zero with each chunk hides nothing."""
    chunks = [{"type": "AIMessageChunk", "content": "a", "usage_metadata": {"output_tokens": 0}}] * 5
    assert tallied(*chunks) == Usage(0, 5, estimated=5)


def test_the_answers_within_the_stream_of_an_agent_add_up() -> None:
    """Each is counted by itself, and a second telling of the same is no second answer."""
    first = [start("m1", 10, 1), says("a"), delta(5)]
    second = [start("m2", 20, 1), says("a"), delta(7)]
    assert tallied(*first, *second) == Usage(30, 12)
    ends = [
        {
            "type": "response.completed",
            "response": {"id": name, "usage": {"input_tokens": 10, "output_tokens": 5}},
        }
        for name in ("r1", "r2", "r2")
    ]
    assert tallied(*[{"type": "raw_response_event", "data": one} for one in ends]) == Usage(20, 10)


def test_a_tokenizer_of_ones_own_counts_what_is_not_told() -> None:
    """It is an estimate all the same; one that answers nonsense is refused."""
    assert tallied("good morning", "!", count=lambda text: len(text.split())) == Usage(0, 3, estimated=3)
    assert tallied(7, count=len) == Usage(0, 1, estimated=1)
    for nonsense in (-1, 1.5, None, True):
        with pytest.raises(FixTheCall, match="count="):
            tallied("a", count=lambda _, nonsense=nonsense: nonsense)


# -- in the ledger


def ledger(**limits: int) -> Ledger:
    """Answer one with limits of its own."""
    return Ledger("in", "out", "usd", Price(1, 1) if "usd" in limits else None, limits)


def test_an_estimate_that_was_too_high_is_given_back() -> None:
    """What is used is what was told in the end, also where it seemed more than there was."""
    book = ledger(out=30)
    account = Account(book, None, None)
    assert account.see(start("m", 1, 0)) == ""
    assert [account.see(says("good morning")) for _ in range(8)] == [""] * 7 + ["out"]
    assert (book.left, book.used.estimated) == ({"out": 0}, 32)
    account.see(delta(25))
    assert (book.left, book.used) == ({"out": 5}, Usage(1, 25))


def test_money_is_counted_as_it_comes() -> None:
    """By the price of all of it, so that no part of a millionth is counted twice."""
    book = Ledger("in", "out", "usd", Price(3, 0.5), {"usd": 30})
    account = Account(book, None, None)
    account.see(start("m", 7, 0))
    for _ in range(9):
        assert account.see(says("a")) == ""
    assert account.claim() == ("1.estimate", {"in": 7, "out": 9, "usd": 26})
    assert book.left == {"usd": 4}
    assert [account.see(says("aaa")) for _ in range(10)][-1] == "usd"


def test_what_the_sidecar_was_told_it_is_not_told_again() -> None:
    """Each claim has what is new, and a name of its own; too much is not asked back."""
    account = Account(ledger(), None, None)
    account.see(says("good morning"))
    assert account.claim() == ("1.estimate", {"out": 4})
    assert account.claim()[1] == {}
    account.see(delta(3))
    assert account.claim()[1] == {}
    account.see(says("a" * 6))
    assert account.claim() == ("4.estimate", {"out": 1})


def test_what_is_read_elsewhere_stays_counted_when_the_sidecar_says_what_is_left() -> None:
    """It has not heard of that yet."""
    book = ledger()
    book.learn({"out": 100})
    under_way = Account(book, None, None)
    under_way.see("a" * 90)
    book.count(Usage(0, 10))
    book.told("out", 10, {"out": 90})
    assert book.left == {"out": 60}
    (_, amounts) = under_way.claim()
    book.told("out", amounts["out"], {"out": 60})
    assert book.left == {"out": 60}


def test_what_it_may_not_have_heard_counts_until_it_says_what_is_left() -> None:
    """Once, though it is told again."""
    book = ledger()
    book.learn({"out": 100})
    for remaining, left in ((None, 90), ({"out": 90}, 90)):
        book.count(Usage(0, 10))
        book.told("out", 10, remaining)
        assert book.left == {"out": left}


def held(book: Ledger, wanted: int, given: int = 0, least: int = 1) -> Hold:
    """Hold something that is there."""
    hold = book.reserve(wanted, given, least)
    assert isinstance(hold, Hold)
    return hold


def test_what_is_held_is_not_held_twice() -> None:
    """All requests together never hold more than is left; what is released can be held again."""
    book = ledger(out=100)
    first, second = held(book, 70), held(book, 70)
    assert (first.max_tokens, second.max_tokens, book.held) == (70, 30, {"out": 100})
    assert book.reserve(1, 0, 1) == ""  # others hold it: it has not run out
    assert book.reserve(200, 0, 101) == "out"
    book.release(first)
    book.release(first)
    assert held(book, 100).max_tokens == 70


def test_money_and_prompts_are_held_too() -> None:
    """A request holds what all of it may cost."""
    book = ledger(usd=100, **{"in": 50})
    assert held(book, 30, given=40).amounts == {"in": 40, "out": 30, "usd": 70}
    assert book.reserve(30, 20, 1) == ""
    assert held(book, 100, given=10).max_tokens == 20


def test_what_came_is_held_no_longer() -> None:
    """A hold shrinks with each chunk: nothing is taken and held at once."""
    book = ledger(out=100)
    account = Account(book, held(book, 60), None)
    account.see("a" * 30)
    assert (book.left, book.held) == ({"out": 90}, {"out": 50})
    account.close()
    assert (book.left, book.held) == ({"out": 90}, {})
