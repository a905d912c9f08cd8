"""Whether a job is gone under those who work on it: judged by what the appliance still knows of it."""

from __future__ import annotations

from collections.abc import Sequence

from ds3tool.client import Ds3Client
from ds3tool.errors import JobLostError, NotFoundError
from ds3tool.jobs.state import JobState
from ds3tool.protocol.model import JobDetails, JobStatus


class JobWatch:
    """Asks after one running job when the appliance offers nothing of it any more, or does not know its blobs.

    `receives`: it is a put, whose own list names every blob until it is on tape.
    """

    def __init__(self, client: Ds3Client, job_id: str, state: JobState, *, receives: bool) -> None:
        self._client = client
        self._job_id = job_id
        self._state = state
        self._receives = receives
        self._asked_after_doubts = False

    def look_up(self) -> JobDetails | None:
        """Return the job as the appliance has it, None when it is cancelled or forgotten."""
        try:
            details = self._client.get_job(self._job_id)
        except NotFoundError:
            return None
        return None if details.job.status == JobStatus.CANCELED else details

    def ended_anyway(self, details: JobDetails) -> list[int]:
        """Settle what needs no moving of a job without ready chunks; return the objects that this ends.

        A put's blobs may be there already: another client works on the same job. Raises JobLostError when there are
        others that can never be moved any more. A get's cannot be there, so a get is asked for again until the
        appliance says something else. Call with the state locked.
        """
        ended: list[int] = []
        completed = details.job.status == JobStatus.COMPLETED
        if self._receives:
            ended = self._state.accept_received(details.chunks)
            gone = self._gone_of_completed() if completed else self._state.given_up(details.chunks)
        else:
            gone = self._state.waiting if completed and not (self._state.moving or self._state.ready) else 0
        if gone:
            # A truncated put is COMPLETED too, as soon as what it has is on tape: that says nothing of the rest.
            raise self.error(
                f"{'is COMPLETED' if completed else 'goes on'} on the appliance without {gone} blobs "
                "that were not moved: somebody has truncated it, or another client works on it",
                reason="truncated",
            )
        return ended

    def _gone_of_completed(self) -> int:
        """Return how many blobs of a put that is done were not moved; those of a resumed one are asked after first."""
        self._state.doubt_all()
        if self._state.sure_waiting or self._asked_after_doubts:
            return self._state.waiting
        self._asked_after_doubts = not (self._state.ready or self._state.moving)
        return 0

    def raise_if_gone(self, details: JobDetails | None, suspects: Sequence[tuple[int, NotFoundError]]) -> None:
        """Raise JobLostError when blobs that are not there are missing since the whole job is gone, or was truncated.

        `suspects` are their numbers, each with the refusal it met; at least one.
        """
        if details is None:
            raise self.error("was cancelled or has expired") from suspects[0][1]
        if not self._receives:
            return
        listed = {(blob.key, blob.offset) for chunk in details.chunks for blob in chunk.blobs}
        blobs = self._state.blobs
        if all((blobs.keys[number], blobs.offsets[number]) not in listed for number, _ in suspects):
            what = "goes on without blobs that were not moved: somebody has truncated it"
            raise self.error(what, reason="truncated") from suspects[0][1]

    def error(self, what: str, *, reason: str | None = None) -> JobLostError:
        """Return the error that says `what` has become of the job."""
        return JobLostError(
            f"job {self._job_id} {what}",
            job_id=self._job_id,
            reason=reason,
            hint="run the command again for what is missing",
        )
