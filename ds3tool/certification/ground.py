"""What the cases stand on: a client, a bucket, samples, and a note of all that has to be taken away again."""

from __future__ import annotations

import functools
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Self, TypeVar

from ds3tool.certification.samples import ComparingSink, Sample, SampleBody, SampleSource
from ds3tool.certification.sheet import UnexpectedError
from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import Ds3Error, InterruptedRunError, NotFoundError
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.integrity import bucket_policy
from ds3tool.jobs.plan import JobLimits
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.run import RunResult, RunSettings
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.checksums import new_hasher, to_base64
from ds3tool.protocol.messages import Response
from ds3tool.protocol.model import (
    ChecksumType,
    Chunk,
    DataPolicy,
    JobDetails,
    JobStatus,
    ListedObject,
    PutResult,
)
from ds3tool.transport.pool import Transport
from ds3tool.transport.settings import ConnectionSettings

T = TypeVar("T")

MIB = 1 << 20
TITLE = "ds3tool certify"
# Between two questions after something that takes its time: short at first, and never longer than this.
_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is moved: bytes of the large object and of its blobs, the number of mixed objects.

    `within_seconds` bounds each wait for tape; `seed` makes all bytes and sizes. `fillable` is the largest cache, in
    bytes, that the run may fill to see it full.
    """

    large: int = 100 * MIB
    blob: int = 10 * MIB
    objects: int = 1000
    within_seconds: float = 3600.0
    seed: int = 1
    fillable: int = 256 * MIB


class Ground:
    """One run's ground. `bucket`: the one to work in, made when it is not there; None for one of a new name.

    `management` is the endpoint of the appliance's management port, None where it is not known. Everything has keys
    below `prefix`, which no other run has. Use it as a context manager: leaving it takes everything away again, and
    `left` says, a sentence each, what stays, on purpose (`keep`) or since it could not be taken away.
    """

    def __init__(
        self,
        client: Ds3Client,
        connection: ConnectionSettings,
        extent: Extent,
        *,
        bucket: str | None = None,
        management: str | None = None,
        keep: bool = False,
    ) -> None:
        self.client = client
        self.connection = connection
        self.extent = extent
        self.management = management
        self.left: list[str] = []
        token = secrets.token_hex(4)
        self.bucket = bucket or f"ds3tool-certify-{token}"
        self.prefix = f"certify-{token}/"
        self._keep = keep
        self._made = False
        self._jobs: list[str] = []
        self._undo = ExitStack()
        self._pause = threading.Event()

    def __enter__(self) -> Self:
        """Make the bucket, unless it is there; raises what the appliance says when it cannot be had."""
        if not self.client.bucket_exists(self.bucket):
            self.client.create_bucket(self.bucket)
            self._made = True
        return self

    def __exit__(self, *_: object) -> None:
        """Take away what was made, whatever happened."""
        try:
            self._undo.close()
        except Ds3Error as error:
            self.left.append(error.message)
        for job in self._jobs:
            self._end_job(job)
        if self._keep:
            self.left.append(f"the bucket {self.bucket}, as --keep has it; remove it with: ds3tool rb --force")
            return
        try:
            self._delete_objects()
            if self._made:
                # Never by force: somebody may have put something into it meanwhile.
                self.client.delete_bucket(self.bucket)
        except Ds3Error as error:
            what = f"the bucket {self.bucket}" if self._made else f"objects below {self.bucket}/{self.prefix}"
            self.left.append(f"{what} could not be removed: {error.message}")

    def _end_job(self, job_id: str) -> None:
        try:
            if self.client.get_job(job_id).job.status is JobStatus.IN_PROGRESS:
                self.client.cancel_job(job_id)
        except NotFoundError:
            return
        except Ds3Error as error:
            self.left.append(f"the job {job_id} could not be cancelled: {error.message}")

    def _delete_objects(self) -> None:
        versions = [
            (one.key, one.version_id)
            for one in self.client.list_objects(self.bucket, prefix=self.prefix, versions=self.keeps_versions)
        ]
        failed = [failure for done in self.client.delete_versions(self.bucket, versions) for failure in done.failures]
        if failed:
            self.left.append(f"{len(failed)} objects below {self.bucket}/{self.prefix}: {failed[0].message}")

    # -- what there is ----------------------------------------------------------------------------------------

    @functools.cached_property
    def policy(self) -> DataPolicy:
        """The data policy of the bucket, as it was when that was first asked for."""
        return bucket_policy(self.client, self.bucket)

    @property
    def keeps_versions(self) -> bool:
        """Whether a deleted object, or one that was put again, is still there as an older version."""
        return self.policy.versioning.name != "NONE"

    def copies_wanted(self) -> int:
        """Return how many copies on tape or pool the data policy wants; 1 where this user may not read that."""
        try:
            return max(1, sum(1 for _ in self.client.list_persistence_rules(self.policy.id)))
        except Ds3Error:
            return 1

    def sample(self, name: str, size: int) -> Sample:
        """Return a sample whose key is `name` below the run's own prefix."""
        return Sample(self.prefix + name, size, self.extent.seed)

    def digest(self, sample: Sample, offset: int = 0, length: int | None = None) -> tuple[ChecksumType, str]:
        """Return kind and digest of a range of a sample, of the kind that the policy wants."""
        hasher = new_hasher(self.policy.checksum_type)
        end = sample.size if length is None else offset + length
        for start in range(offset, end, MIB):
            hasher.update(sample.read(start, min(MIB, end - start)))
        return self.policy.checksum_type, to_base64(hasher.digest())

    # -- moving -----------------------------------------------------------------------------------------------

    def put(
        self, samples: Sequence[Sample], *, blob: int | None = None, words: Mapping[str, str] | None = None
    ) -> RunResult:
        """Put samples through planned jobs; UnexpectedError when one of them does not arrive."""
        settings = RunSettings(blob_size=blob, job_name=TITLE, limits=JobLimits())
        result = PutRun(self.client, SampleSource(samples, words=words), self.bucket, settings=settings).run()
        for outcome in result.jobs:
            self.note_job(outcome.job.id)
        _check(result, "put", len(samples))
        return result

    def put_alone(self, sample: Sample) -> PutResult:
        """Put a sample by itself, without a job, with its digest."""
        body = SampleBody(sample, 0, sample.size)
        return self.client.put_object(self.bucket, sample.key, body, checksum=self.digest(sample))

    def put_blob(self, job_id: str, sample: Sample, offset: int, length: int) -> PutResult:
        """Put one blob of a job, with its digest."""
        body, checksum = SampleBody(sample, offset, length), self.digest(sample, offset, length)
        return self.client.put_object(self.bucket, sample.key, body, job_id=job_id, offset=offset, checksum=checksum)

    def get(self, samples: Sequence[Sample]) -> int:
        """Get samples back through jobs and compare every byte; return how many were the same."""
        sink = ComparingSink(samples)
        wanted = {sample.key for sample in samples}
        common = samples[0].key if len(samples) == 1 else self.prefix
        listed: Iterator[ListedObject] = (
            one for one in self.client.list_objects(self.bucket, prefix=common) if one.key in wanted
        )
        try:
            settings = RunSettings(job_name=TITLE)
            run = GetRun(self.client, sink, self.bucket, listed, name_of=lambda key: key, settings=settings)
            result = run.run()
        finally:
            sink.close()
        _check(result, "got", len(samples))
        return sink.compared

    def note_job(self, job_id: str) -> None:
        """Remember a job, which is cancelled at the end should it still go on."""
        self._jobs.append(job_id)

    def blobs_of(self, job: JobDetails) -> Iterator[tuple[str, int, int]]:
        """Yield key, offset and length of every blob of a job, as soon as its chunks are offered; in their order.

        Chunks are taken as done when they were yielded: whoever asks for the next one has moved those before.
        """
        left = {blob for chunk in job.chunks for blob in _places(chunk)}

        def offered() -> list[tuple[str, int, int]]:
            # What is done may be offered again: that is no answer, or nobody would ever pause.
            ready = self.client.get_ready_chunks(job.job.id).chunks
            return [place for chunk in ready for place in _places(chunk) if place in left]

        while left:
            within, what = self.extent.within_seconds, f"chunks of job {job.job.id}"
            for place in self.until(offered, within=within, what=what):
                left.discard(place)
                yield place

    def exists(self, sample: Sample) -> bool:
        """Whether an object of a sample's key is there, whole."""
        try:
            self.client.head_object(self.bucket, sample.key)
        except NotFoundError:
            return False
        return True

    def until(self, ask: Callable[[], T], *, within: float, what: str) -> T:
        """Return the first answer that is true; UnexpectedError when there was none in so many seconds."""
        began, pause = time.monotonic(), _FIRST_PAUSE_SECONDS
        while True:
            answer = ask()
            if answer:
                return answer
            if time.monotonic() - began >= within:
                raise UnexpectedError(f"{what}: not within {within:g} seconds")
            self._pause.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    # -- others -----------------------------------------------------------------------------------------------

    @contextmanager
    def client_with(
        self,
        *,
        endpoint: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        clock: Clock | None = None,
    ) -> Iterator[Ds3Client]:
        """Give a client that differs from the run's own in what is given; it repeats nothing."""
        own = self.connection
        settings = replace(
            own,
            endpoint=endpoint or own.endpoint,
            access_key=access_key or own.access_key,
            secret_key=secret_key or own.secret_key,
            max_retry_seconds=0.0,
        )
        transport = Transport(settings, clock=clock)
        try:
            yield Ds3Client.over(transport)
        finally:
            transport.close()

    def afterwards(self, act: Callable[[], None]) -> None:
        """Have `act` called when the run ends; what it raises is told as left."""
        self._undo.callback(act)


def _check(result: RunResult, done: str, count: int) -> None:
    if isinstance(result.stopped, InterruptedRunError):
        raise result.stopped
    if result.stopped is not None:
        raise UnexpectedError(f"{done} {result.objects} of {count}, then: {result.stopped.message}")
    if result.failures:
        error = result.failures[0].named_error
        raise UnexpectedError(f"{done} {result.objects} of {count}; the first that failed: {error.message}")
    if result.objects != count:
        raise UnexpectedError(f"{done} {result.objects} of {count} objects")


def _places(chunk: Chunk) -> Iterator[tuple[str, int, int]]:
    for blob in chunk.blobs:
        yield blob.key, blob.offset, blob.length


def read(response: Response) -> bytes:
    """Return the body of an answer that is small enough to hold."""
    return b"".join(response.body)
