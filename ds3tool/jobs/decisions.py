"""What follows when a blob could not be moved: pure decisions, which movers and engine carry out.

Waiting is no part of them. A request is repeated, with waits, below, by `transport.retry.after_failure`; what comes up
from there has been repeated for as long as it may be, or must not be. Three moments are left to decide upon: a small
blob's one quick try, a try of one blob in peace, and a blob that its mover has given up.
"""

from __future__ import annotations

from enum import Enum

from ds3tool.errors import (
    AccessDeniedError,
    ApplianceError,
    BusyError,
    ChecksumError,
    ConflictError,
    Ds3Error,
    FarSideDeniedError,
    NotFoundError,
    ProtocolError,
    RetryLaterError,
    ServerFaultError,
    TransportError,
)
from ds3tool.transport import retry

# With one of these the time for retries is spent: asking for anything else would spend it once more.
UNREACHABLE = (TransportError, BusyError, RetryLaterError, ServerFaultError)
# What another run may mend, when somebody has set a clock or a key right, or the network is back: their job stays open.
# So it is with the credentials for a job's other end, when they have expired.
MENDABLE = (*UNREACHABLE, AccessDeniedError, FarSideDeniedError)


class Decision(Enum):
    """What follows."""

    AGAIN_AT_ONCE = "the whole blob is moved again, at once"
    ASK_FIRST = "the appliance is asked what it has, before anything else"
    GIVE_UP_BLOB = "its object fails by name, and the others go on"
    GIVE_UP_JOB = "nothing of the job is moved any more in this run"
    LEAVE = "nothing has failed: a later run goes on with it"


def after_small_try(error: Ds3Error | None, status: int | None) -> Decision:
    """Decide what comes before a small blob, whose quick try got no plain answer, is moved in peace.

    Either `error` says what happened, or the `status` of a refusal does.

    =====================================================  =============
    what happened                                          what follows
    =====================================================  =============
    the connection broke once the request was sent, 500,   ask first
    502, 504, an answer that breaks the protocol
    it was never sent whole, a refusal of any other kind,  again at once
    a digest that is not ours
    =====================================================  =============

    It holds for gets too: of those, there is nothing to ask.
    """
    if error is None:
        error = ApplianceError("", status=status or 0, code="")
    unsure = isinstance(retry.after_failure(error, 1, harmless=False), retry.AskFirst)
    return Decision.ASK_FIRST if unsure or isinstance(error, ProtocolError) else Decision.AGAIN_AT_ONCE


def after_try(error: Ds3Error, *, sends: bool, damaged: bool, sent: bool = True, repeatable: bool = True) -> Decision:
    """Decide what follows on a try to move one blob, its request having been repeated as often as it may be.

    `sends`: it is a put. `damaged`: an earlier try of it has met damage. `sent`: all of its body went out in this try
    or one before. `repeatable`: its bytes can be had, or taken, once more.

    ==============================================  =======================  ===================  ==================
    what happened                                   put, sent                put, not sent        get
    ==============================================  =======================  ===================  ==================
    other bytes than were sent: a digest that       again at once, digested  again at once        again at once, from
    differs (the appliance's 400 too)               anew                                          its first byte
    an answer that breaks the protocol              ask first                again at once        again at once
    either of them once more, or not repeatable     give up blob             give up blob         give up blob
    404, 409, 410: a lost reply may be why          ask first                give up blob         give up blob
    anything else: trouble that lasted (no          give up blob             give up blob         give up blob
    connection, 307, 408, 429, 5xx), 403, other
    400s, source, target
    ==============================================  =======================  ===================  ==================

    Asked first: what is there is through; what is not goes on as if it had not been sent. Who gives a blob up lets
    `after_blob` decide about its job.
    """
    if isinstance(error, (NotFoundError, ConflictError)):
        return Decision.ASK_FIRST if sends and sent else Decision.GIVE_UP_BLOB
    if not isinstance(error, (ChecksumError, ProtocolError)):
        return Decision.GIVE_UP_BLOB
    if isinstance(error, ProtocolError) and sends and sent:
        return Decision.ASK_FIRST
    return Decision.AGAIN_AT_ONCE if repeatable and not damaged else Decision.GIVE_UP_BLOB


def after_blob(error: Ds3Error, *, alone: bool, stopped: bool) -> Decision:
    """Decide what a blob that cannot be moved means for the rest of its job, be it a put or a get.

    `alone`: nothing else has come through while it was tried. `stopped`: this run is to end.

    ==============================================  =================  ==================  ============
    what happened                                   while others move  alone               stopped
    ==============================================  =================  ==================  ============
    trouble that lasted: no connection, a           give up blob       give up job: the    leave
    certificate, 307, 408, 429, 500, 502, 503, 504                     others would spend
                                                                       their time one by
                                                                       one
    403: key, clock or permission; the other end    give up blob       give up job         give up blob
    knows our credentials no more
    404, 410: not there                             ask first: is the  the same            the same
                                                    job gone, or only
                                                    the blob?
    anything else: damage, 400, 409, source,        give up blob       give up blob        give up blob
    target
    ==============================================  =================  ==================  ============

    Of a put, what is given up for trouble or a 403 leaves the job open, for another run to go on with.
    """
    if isinstance(error, NotFoundError):
        return Decision.ASK_FIRST
    if stopped and isinstance(error, UNREACHABLE):
        return Decision.LEAVE
    if alone and isinstance(error, MENDABLE):
        return Decision.GIVE_UP_JOB
    return Decision.GIVE_UP_BLOB
