"""A call that was refused or not answered, as one line for people and one document for programs."""

from countermand import ActionState, CountermandError, ErrorReason, TryAgain
from countermand.cli.call import Call
from countermand.cli.documents import document, dumps
from countermand.cli.exit_codes import ExitCode, code_of
from countermand.cli.output import Output, say


def tell(call: Call, error: CountermandError) -> ExitCode:
    """Say what is refused, by whom, why, and what to do; answer the exit code."""
    code = code_of(error)
    say(line(call.verb, error))
    if call.output is not Output.TABLE:
        refusal = document(
            "refusal",
            verb=call.verb,
            reason=error.reason,
            message=_one_line(error),
            metadata=error.metadata,
            next=code.name,
            exit_code=code.value,
        )
        print(dumps(refusal, indent=2 if call.output is Output.JSON else None), flush=True)
    return code


def line(verb: str, error: CountermandError) -> str:
    """Write the line."""
    told = f"countermand {verb}: {_one_line(error)}"
    if note := error.metadata.get("note"):
        told += f"; they said: “{note}”"
    if error.metadata.get("prior_decision") == ActionState.PERMITTED:
        told += "; it had its permit before the stop, so its effect may have happened"
    if error.reason is ErrorReason.FENCE_EXISTS:
        told += "; NOT FROZEN" if verb == "freeze" else "; NOT REVOKED"
    if isinstance(error, TryAgain) and error.reason is not ErrorReason.AWAITING_APPROVAL:
        told += _how_to_ask_again(verb, error)
    return told if error.reason is ErrorReason.UNSPECIFIED else f"{told} [{error.reason}]"


def _how_to_ask_again(verb: str, error: CountermandError) -> str:
    if verb in ("commit", "perform"):
        name = f"--op {error.metadata['op']} " if verb == "perform" and "op" in error.metadata else ""
        return f"; to ask again, add {name}--again"
    if verb == "spend" and "op" in error.metadata:
        return f"; to ask again, add --op {error.metadata['op']}"
    if verb == "cancel":
        return "; the run may NOT be stopped: repeat the command until it answers, that is safe"
    if verb in ("revoke", "freeze") and "fence" not in error.metadata:
        return "; NOTHING IS STOPPED, it was only to be counted: without counting, add --yes --expect any"
    if verb in ("revoke", "freeze"):
        again = f"repeat it with --id {error.metadata['fence']} until it answers, that is safe"
        return f"; the fence may NOT stand: {again}"
    return ""


def _one_line(error: CountermandError) -> str:
    return " ".join(str(error).split())
