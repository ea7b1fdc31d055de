"""Arguments a person agreed to instead of those that were prepared. They may only narrow them.

An amendment narrows when it keeps some of the keys, and under each key

* a text, a truth value or null stays as it is;
* a number keeps its sign and grows no larger; a whole number stays whole. Zero has a sign of its own, because
  it often stands for no limit: nothing becomes zero;
* a list keeps some of its items as they are, in their order;
* a mapping narrows in turn.

So a number that is a name, such as an account's, should be a text: as a number it could become a smaller one.
"""

import hmac
import json
import math
from collections.abc import Mapping
from typing import NoReturn

from countermand._digest import digest, plain
from countermand._errors import DigestMismatch, InvalidRequest
from countermand._models.approvals import Approval
from countermand._words import ErrorReason


def amended(op_id: str, args: Mapping[str, object], approval: Approval) -> dict[str, object]:
    """Answer the arguments a person agreed to, or raise if they do more than narrow those prepared."""
    told = _read(op_id, approval.amendment)
    try:
        agreed = hmac.compare_digest(digest(told), approval.amended_digest)
    except InvalidRequest as error:
        raise _refused(op_id, str(error)) from error
    if not agreed:
        raise _refused(op_id, "they are not those of the digest that was agreed to")
    if fault := _fault("args", plain(args), told):
        raise _refused(op_id, fault)
    return told


def _read(op_id: str, text: str) -> dict[str, object]:
    try:
        told = json.loads(text, object_pairs_hook=_mapping, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _refused(op_id, "they are no JSON") from error
    if not isinstance(told, dict):
        raise _refused(op_id, "they are no JSON object")
    return told


def _mapping(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Read an object. Whoever agreed may have been shown the other of two values."""
    told = dict(pairs)
    if len(told) < len(pairs):
        raise ValueError("a key is given twice")
    return told


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _fault(where: str, given: object, told: object) -> str | None:
    """Say which part does not narrow what was given, or None if all do."""
    if isinstance(given, dict) and isinstance(told, dict):
        if new := told.keys() - given.keys():
            return f"{where} has keys that were not prepared: {', '.join(sorted(map(repr, new)))}"
        faults = (_fault(f"{where}[{key!r}]", given[key], value) for key, value in told.items())
        return next(filter(None, faults), None)
    if isinstance(given, list) and isinstance(told, list):
        rest = iter(given)
        kept = all(any(_is_same(one, item) for one in rest) for item in told)
        return None if kept else f"{where} has items that were not prepared in this order"
    if _is_number(given) and _is_number(told):
        return None if _shrinks(given, told) else f"{where} is not a smaller number of the same sign and kind"
    return None if _is_same(given, told) else f"{where} was changed, not narrowed"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shrinks(given: object, told: object) -> bool:
    if not isinstance(given, int | float) or not isinstance(told, int | float):
        return False
    if isinstance(given, int) and not isinstance(told, int):
        return False
    return _sign(given) == _sign(told) and abs(told) <= abs(given)


def _sign(value: float) -> float:
    return math.copysign(1, value) if value else 0


def _is_same(given: object, told: object) -> bool:
    """Compare as the digest does: true is not 1, and 1.0 is not 1."""
    return digest({"": given}) == digest({"": told})


def unseen(op_id: str) -> DigestMismatch:
    """Refuse to let a tool act that has not looked: it would act with the arguments it gave."""
    return _mismatch(
        op_id,
        f"a person agreed to narrower arguments for action {op_id}, and the tool has not looked at them: "
        "do not act; act with those in act.args, and look at them before the commit",
    )


def not_for_perform(op_id: str) -> DigestMismatch:
    """Refuse to let a tool act that could not be handed other arguments."""
    return _mismatch(
        op_id,
        f"a person agreed to narrower arguments for action {op_id}, which perform and tool cannot hand on: "
        "do not act; use 'with countermand.action(...)' and act with those in act.args",
    )


def _refused(op_id: str, why: str) -> DigestMismatch:
    return _mismatch(
        op_id,
        f"the arguments a person agreed to for action {op_id} cannot be used, {why}: do not act; "
        "intend a new action",
        rule=why,
    )


def _mismatch(op_id: str, message: str, **more: str) -> DigestMismatch:
    return DigestMismatch(message, reason=ErrorReason.DIGEST_MISMATCH, metadata={"op": op_id, **more})
