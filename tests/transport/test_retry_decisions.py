"""The decision after a failed request, by itself: every failure, every kind of request, from its table."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

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
)
from ds3tool.transport.retry import AgainAfter, AgainAtOnce, AskFirst, Decision, GiveUp, after_failure, asked_for

KINDS: dict[int, type[ApplianceError]] = {
    307: RetryLaterError,
    403: AccessDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    **dict.fromkeys((408, 429, 500, 502, 504), ServerFaultError),
    503: BusyError,
}


def refused(status: int, wish: float | None = None) -> ApplianceError:
    kind = KINDS.get(status, ApplianceError)
    return kind("no", status=status, code="No", retry_after_seconds=wish)


LOST, NEVER_LEFT = TransportError("lost"), TransportError("never left", may_have_arrived=False)
WISH = AgainAfter(7.0, asked_for=True)
FIRST_307, FIRST, FIRST_LOST = AgainAfter(0.1), AgainAfter(1.0), AgainAfter(0.25)

# What happened: what follows at the first failure where twice does no harm, and where it may do harm.
TABLE: list[tuple[Ds3Error, Decision, Decision]] = [
    (NEVER_LEFT, FIRST_LOST, FIRST_LOST),
    (LOST, FIRST_LOST, AskFirst(0.25)),
    (refused(307), FIRST_307, FIRST_307),
    (refused(307, 7.0), WISH, WISH),
    (refused(307, 0.0), AgainAtOnce(), AgainAtOnce()),
    *((refused(status), FIRST, FIRST) for status in (408, 429, 503)),
    *((refused(status, 7.0), WISH, WISH) for status in (408, 429, 503)),
    *((refused(status, 0.0), AgainAtOnce(), AgainAtOnce()) for status in (408, 429, 503)),
    *((refused(status), FIRST, AskFirst(1.0)) for status in (500, 502, 504)),
    *((refused(status, 7.0), WISH, AskFirst(7.0, asked_for=True)) for status in (500, 502, 504)),
    *((refused(status, 0.0), AgainAtOnce(), AskFirst(0.0)) for status in (500, 502, 504)),
    (FarSideUnreachableError("no S3"), FIRST_LOST, FIRST_LOST),
    (FarSideDeniedError("expired", status=400), GiveUp(), GiveUp()),
    (FarSideForbiddenError("not you", status=403), GiveUp(), GiveUp()),
    (FarSideNotFoundError("gone", status=404), GiveUp(), GiveUp()),
    (FarSideError("no", status=400), GiveUp(), GiveUp()),
    (TlsError("who are you", may_have_arrived=False), GiveUp(), GiveUp()),
    (ProxyRefusedError("not you", may_have_arrived=False), GiveUp(), GiveUp()),
    (refused(400), GiveUp(), GiveUp()),
    (ForbiddenError("not you", status=403, code="No"), GiveUp(), GiveUp()),
    (DamagedError("gone bad", status=400, code="No"), GiveUp(), GiveUp()),
    (ProtocolError("what is that"), GiveUp(), GiveUp()),
    (ChecksumError("wrong", key="k", offset=0, expected="a", actual="b"), GiveUp(), GiveUp()),
    (MediaOfflineError("away", bar_codes=("A",)), GiveUp(), GiveUp()),
    (SourceError("unreadable"), GiveUp(), GiveUp()),
    (SinkError("full"), GiveUp(), GiveUp()),
    (Ds3Error("other"), GiveUp(), GiveUp()),
]


def every_other_status() -> Iterator[int]:
    """Yield each status that a refusal may have and that no rule names."""
    yield from sorted(set(range(300, 600)) - {307, 408, 429, 500, 502, 503, 504})


@pytest.mark.parametrize(("error", "harmless", "harmful"), TABLE, ids=lambda value: str(value)[:40])
def test_each_failure_has_its_decision(error: Ds3Error, harmless: Decision, harmful: Decision) -> None:
    """The first failure is followed by what the table says, for requests of either kind."""
    assert after_failure(error, 1, harmless=True) == harmless
    assert after_failure(error, 1, harmless=False) == harmful


@pytest.mark.parametrize("wish", [None, 0.0, 7.0])
@pytest.mark.parametrize("harmless", [True, False])
def test_any_other_refusal_is_final_whatever_it_wishes(harmless: bool, wish: float | None) -> None:
    """A refusal that would be the same again is not repeated, with Retry-After or without."""
    for status in every_other_status():
        assert after_failure(refused(status, wish), 1, harmless=harmless) == GiveUp(), status
        assert not asked_for(refused(status, wish))


@pytest.mark.parametrize("wish", [None, 0.0, 7.0])
@pytest.mark.parametrize("harmless", [True, False])
def test_where_busy_is_an_answer_it_is_handed_over(harmless: bool, wish: float | None) -> None:
    """307 and 503 are the caller's then, and nothing else is."""
    for error, *_ in TABLE:
        plain = after_failure(error, 1, harmless=harmless)
        given = after_failure(error, 1, harmless=harmless, busy_is_answer=True)
        handed_over = isinstance(error, ApplianceError) and error.status in {307, 503}
        assert given == (GiveUp() if handed_over else plain), error
    for status in (307, 503):
        assert after_failure(refused(status, wish), 1, harmless=harmless, busy_is_answer=True) == GiveUp()


@pytest.mark.parametrize("harmless", [True, False])
def test_waits_double_up_to_their_bound_and_wishes_stay(harmless: bool) -> None:
    """Without a wish the waits double to a minute (10 s after 307, 1 s after a wish for none); a wish is kept."""
    bounds = {LOST: 60.0, NEVER_LEFT: 60.0, refused(500): 60.0, refused(503): 60.0, refused(307): 10.0}
    for error, longest in bounds.items():
        waits = [seconds_of(after_failure(error, attempt, harmless=harmless)) for attempt in range(1, 2000)]
        assert all(later == min(2 * earlier, longest) for earlier, later in itertools.pairwise(waits)), error
        assert waits[-1] == longest
    for status in (307, 429, 503):
        assert {after_failure(refused(status, 7.0), attempt, harmless=harmless) for attempt in range(1, 50)} == {WISH}
        none = [after_failure(refused(status, 0.0), attempt, harmless=harmless) for attempt in range(2, 50)]
        assert [seconds_of(each) for each in none[:5]] == [0.1, 0.2, 0.4, 0.8, 1.0]
        assert none[-1] == AgainAfter(1.0)


def seconds_of(decision: Decision) -> float:
    assert isinstance(decision, (AgainAfter, AskFirst))
    assert not decision.asked_for
    return decision.seconds


def test_a_wait_is_asked_for_only_where_the_appliance_wishes_one() -> None:
    """What is told as the appliance's wish is a wait of more than nothing that it asked for, before another try."""
    assert [asked_for(refused(status, 7.0)) for status in (307, 408, 429, 500, 503)] == [True] * 5
    assert not asked_for(refused(503))
    assert not asked_for(refused(503, 0.0))
    assert not asked_for(LOST)


def test_no_error_of_the_tree_is_without_a_rule() -> None:
    """Each class of error stands in the table, or is one that no exchange raises, for which nothing is repeated."""
    in_table = {type(error) for error, *_ in TABLE} | set(KINDS.values())
    others = {
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Ds3Error)
    } - in_table
    assert {kind.__name__ for kind in others} == {
        "UsageError",
        "ConfigError",
        "PathNotFoundError",
        "JobError",
        "JobLostError",
        "LockedError",
        "JournalError",
        "InterruptedRunError",
    }
    for kind in others:
        for harmless in (True, False):
            assert after_failure(kind("no"), 1, harmless=harmless) == GiveUp()
