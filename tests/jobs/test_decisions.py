"""What follows when a blob could not be moved: each table whole, by itself."""

from __future__ import annotations

import pytest

from ds3tool import errors
from ds3tool.errors import (
    AccessDeniedError,
    ApplianceError,
    BusyError,
    ChecksumError,
    ConflictError,
    DamagedError,
    Ds3Error,
    FarSideDeniedError,
    FarSideError,
    FarSideForbiddenError,
    FarSideNotFoundError,
    FarSideUnreachableError,
    ForbiddenError,
    InterruptedRunError,
    JobLostError,
    MediaOfflineError,
    NotFoundError,
    ProtocolError,
    ProxyRefusedError,
    RetryLaterError,
    ServerFaultError,
    SinkError,
    SourceError,
    TlsError,
    TransportError,
    UsageError,
)
from ds3tool.jobs.decisions import MENDABLE, UNREACHABLE, Decision, after_blob, after_small_try, after_try

AGAIN, ASK, BLOB, JOB, LEAVE = Decision


def refused(kind: type[ApplianceError], status: int) -> ApplianceError:
    return kind("no", status=status, code="No")


LOST, NEVER_LEFT = TransportError("lost"), TransportError("never left", may_have_arrived=False)
DAMAGE = ChecksumError("wrong", key="k", offset=0, expected="a", actual="b")
BROKEN = ProtocolError("what is that")
MISSING = [refused(NotFoundError, 404), refused(NotFoundError, 410)]
CONFLICT = refused(ConflictError, 409)
DENIED = [refused(AccessDeniedError, 403), refused(ForbiddenError, 403), FarSideDeniedError("expired", status=400)]
FAULTS = [refused(ServerFaultError, status) for status in (408, 429, 500, 502, 504)]
TROUBLE: list[Ds3Error] = [
    LOST,
    NEVER_LEFT,
    TlsError("who are you"),
    ProxyRefusedError("not you"),
    FarSideUnreachableError("no S3"),
    refused(RetryLaterError, 307),
    refused(BusyError, 503),
    *FAULTS,
]
OTHERS: list[Ds3Error] = [
    refused(ApplianceError, 400),
    refused(DamagedError, 400),
    refused(ApplianceError, 416),
    refused(ApplianceError, 501),
    MediaOfflineError("away", bar_codes=("A",)),
    SourceError("unreadable"),
    SinkError("full"),
    UsageError("impossible"),
    InterruptedRunError("stopped"),
    JobLostError("gone"),
    FarSideError("no", status=400),
    FarSideForbiddenError("not you", status=403),
    FarSideNotFoundError("gone", status=404),
]
EVERY = [*TROUBLE, *OTHERS, *MISSING, CONFLICT, *DENIED, DAMAGE, BROKEN]


def named(error: Ds3Error) -> str:
    status = f" {error.status}" if isinstance(error, ApplianceError) else ""
    return f"{type(error).__name__}{status}"


# -- a small blob's quick try -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", EVERY, ids=named)
def test_a_small_blob_is_asked_after_where_it_may_have_arrived(error: Ds3Error) -> None:
    """Only a lost reply, a server's fault and an answer that makes no sense leave it open whether it is there."""
    unsure = [LOST, BROKEN, *(fault for fault in FAULTS if fault.status in {500, 502, 504})]
    assert after_small_try(error, None) is (ASK if error in unsure else AGAIN)


def test_a_small_blobs_refusal_is_known_by_its_status() -> None:
    """The loop for small requests reads no error documents; the status alone says whether to ask."""
    assert [status for status in range(300, 600) if after_small_try(None, status) is ASK] == [500, 502, 504]
    assert {after_small_try(None, status) for status in range(300, 600)} == {ASK, AGAIN}


# -- a try in peace ---------------------------------------------------------------------------------------------------

PUT_SENT, PUT_NOT_SENT, GET = {"sends": True}, {"sends": True, "sent": False}, {"sends": False}
# What happened: what follows on a put that was sent, on one that was not, and on a get.
TRIES: list[tuple[Ds3Error, Decision, Decision, Decision]] = [
    (DAMAGE, AGAIN, AGAIN, AGAIN),
    (BROKEN, ASK, AGAIN, AGAIN),
    *((error, ASK, BLOB, BLOB) for error in [*MISSING, CONFLICT]),
    *((error, BLOB, BLOB, BLOB) for error in [*TROUBLE, *OTHERS, *DENIED]),
]


@pytest.mark.parametrize(("error", "sent", "not_sent", "get"), TRIES, ids=lambda value: getattr(value, "name", None))
def test_a_first_try_is_followed_by_what_its_table_says(
    error: Ds3Error, sent: Decision, not_sent: Decision, get: Decision
) -> None:
    """What happened, to a put that was sent, to one that was not, and to a get, decides what follows."""
    assert after_try(error, damaged=False, **PUT_SENT) is sent
    assert after_try(error, damaged=False, **PUT_NOT_SENT) is not_sent
    assert after_try(error, damaged=False, **GET) is get


@pytest.mark.parametrize(("error", "sent", "not_sent", "get"), TRIES, ids=lambda value: getattr(value, "name", None))
def test_nothing_is_tried_a_third_time_or_where_it_cannot_be_had_again(
    error: Ds3Error, sent: Decision, not_sent: Decision, get: Decision
) -> None:
    """After damage once, or where the bytes come once only, no try follows; asking stays as it is."""
    for circumstances in ({"damaged": True}, {"damaged": False, "repeatable": False}):
        for which, first in ((PUT_SENT, sent), (PUT_NOT_SENT, not_sent), (GET, get)):
            assert after_try(error, **circumstances, **which) is (BLOB if first is AGAIN else first)


def test_each_error_of_the_tree_stands_in_the_tables() -> None:
    """No class of error is without a decision; of those left out here none comes from moving a blob."""
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Ds3Error)}
    assert {kind.__name__ for kind in kinds - {type(error) for error in EVERY}} == {
        "Ds3Error",
        "ConfigError",
        "PathNotFoundError",
        "JobError",
        "LockedError",
        "JournalError",
    }
    assert {type(error) for error, *_ in TRIES} == {type(error) for error in EVERY}


# -- a blob that was given up -----------------------------------------------------------------------------------------

# What happened: what follows while others move, alone, and when the run is stopped (then it is the same alone).
BLOBS: list[tuple[Ds3Error, Decision, Decision, Decision]] = [
    *((error, BLOB, JOB, LEAVE) for error in TROUBLE),
    *((error, BLOB, JOB, BLOB) for error in DENIED),
    *((error, ASK, ASK, ASK) for error in MISSING),
    *((error, BLOB, BLOB, BLOB) for error in [*OTHERS, CONFLICT, DAMAGE, BROKEN]),
]


@pytest.mark.parametrize(
    ("error", "others_move", "alone", "stopped"), BLOBS, ids=lambda value: getattr(value, "name", None)
)
def test_a_blob_that_is_given_up_means_for_its_job_what_its_table_says(
    error: Ds3Error, others_move: Decision, alone: Decision, stopped: Decision
) -> None:
    """One bad blob never stops the others; what nothing gets past stops the job, and a stop is no failure."""
    assert after_blob(error, alone=False, stopped=False) is others_move
    assert after_blob(error, alone=True, stopped=False) is alone
    assert after_blob(error, alone=False, stopped=True) is stopped


def test_a_stop_is_told_from_trouble_also_when_nothing_moves() -> None:
    """When the run is stopped, trouble of the last blob is what stopping does, not what ends the job."""
    for error in TROUBLE:
        assert after_blob(error, alone=True, stopped=True) is LEAVE


def test_what_another_run_may_mend_is_told_from_what_it_cannot() -> None:
    """Trouble, and a key, clock or permission that is wrong, may be mended; what is wrong with an object may not."""
    assert [error for error in EVERY if isinstance(error, UNREACHABLE)] == TROUBLE
    assert [error for error in EVERY if isinstance(error, MENDABLE)] == [*TROUBLE, *DENIED]
