"""Waiting for a job, hours in no time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ds3tool.clock import ManualClock
from ds3tool.errors import JobLostError, NotFoundError
from ds3tool.jobs.completion import is_in_cache, wait_for_job
from ds3tool.protocol.model import Job, JobDetails, JobStatus, JobType

PUT = Job("j", "b", JobType.PUT, JobStatus.IN_PROGRESS, original_bytes=100)


class Story:
    """Answers with one state of the job after the other; its blobs are read of the last one only."""

    def __init__(self, *jobs: Job, then: Job | None = None, forgets: bool = False) -> None:
        self._left = list(jobs)
        self._then = then
        self._forgets = forgets

    def get_job_head(self, job_id: str) -> Job:
        assert job_id == "j"
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]

    def get_job(self, job_id: str) -> JobDetails:
        assert job_id == "j"
        (last,) = self._left
        if self._forgets:
            raise NotFoundError("no job", status=404, code="NotFound")
        return JobDetails(self._then or last, ())


def test_the_wait_ends_when_the_job_is_completed() -> None:
    """It asks in even steps, and no more often."""
    clock = ManualClock()
    story = Story(PUT, replace(PUT, cached_bytes=100), replace(PUT, status=JobStatus.COMPLETED))
    details = wait_for_job(story, "j", in_cache=False, interval_seconds=10, clock=clock)
    assert details.job.status is JobStatus.COMPLETED
    assert clock.waits == [10, 10]


def test_the_wait_for_the_cache_ends_earlier() -> None:
    """With in_cache the last byte received is enough."""
    clock = ManualClock()
    story = Story(PUT, replace(PUT, cached_bytes=99), replace(PUT, cached_bytes=100))
    assert wait_for_job(story, "j", in_cache=True, interval_seconds=5, clock=clock).job.cached_bytes == 100
    assert clock.waits == [5, 5]


def test_a_cancelled_job_is_lost_with_exit_code_12() -> None:
    """Nobody waits for ever for a job that somebody ended."""
    with pytest.raises(JobLostError) as lost:
        wait_for_job(
            Story(PUT, replace(PUT, status=JobStatus.CANCELED)),
            "j",
            in_cache=False,
            interval_seconds=1,
            clock=ManualClock(),
        )
    assert lost.value.exit_code == 12


def test_a_job_that_is_forgotten_once_it_is_completed_is_completed() -> None:
    """An appliance may drop a job that has ended between two questions."""
    story = Story(PUT, replace(PUT, status=JobStatus.COMPLETED), forgets=True)
    details = wait_for_job(story, "j", in_cache=False, interval_seconds=10, clock=ManualClock())
    assert details == JobDetails(replace(PUT, status=JobStatus.COMPLETED), ())


def test_a_job_that_is_cancelled_while_its_blobs_are_asked_for_is_lost() -> None:
    """What counts is what was said last."""
    story = Story(replace(PUT, cached_bytes=100), then=replace(PUT, status=JobStatus.CANCELED))
    with pytest.raises(JobLostError):
        wait_for_job(story, "j", in_cache=True, interval_seconds=10, clock=ManualClock())


@pytest.mark.parametrize(
    ("job", "there"),
    [
        (replace(PUT, completed_bytes=100), False),
        (replace(PUT, cached_bytes=100), True),
        (replace(PUT, entirely_in_cache=True), True),
        (replace(PUT, type=JobType.GET, cached_bytes=10), False),
        (replace(PUT, type=JobType.GET, cached_bytes=10, completed_bytes=100), True),
    ],
)
def test_what_counts_as_in_the_cache(job: Job, *, there: bool) -> None:
    """A put is there when it was received; of a get, what was sent may have left the cache again."""
    assert is_in_cache(job) is there
