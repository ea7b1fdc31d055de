"""What an exception means for the work beside it: the stop it sets off."""

from countermand._errors import AuthorityEnded, Stopped
from countermand._leaving import note_of, reason_of
from countermand.work.stop import Stop, StopCause


def because_of(error: BaseException) -> Stop:
    """Answer the stop that an exception sets off. One that tells of a stop already hands that one on."""
    if isinstance(error, Stopped):
        return error.stop
    if isinstance(error, AuthorityEnded):
        return Stop.of_refusal(error)
    cause = StopCause.FAILURE if isinstance(error, Exception) else StopCause.OUTSIDE
    return Stop(reason_of(error), note=note_of(error), cause=cause)
