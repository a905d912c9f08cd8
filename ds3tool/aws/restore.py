"""Objects in archive classes of S3 (Glacier): asked to be restored for some days, and waited for."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ds3tool.aws.failures import told
from ds3tool.aws.s3_listing import ARCHIVED_CLASSES, Restore, restore_of
from ds3tool.aws.tiers import Tier
from ds3tool.clock import Clock, RealClock
from ds3tool.errors import FarSideError, FarSideNotFoundError
from ds3tool.lazy_dataclass import dataclass

# Requests at once, of those that ask for restoring and of those that look whether it is done.
THREADS = 16
_BATCH = 1000
# From the first look at what is being restored to the second, and the longest between two: the quickest tier takes
# minutes, the slowest half a day. Source: S3 user guide, archive retrieval options.
_FIRST_WAIT_SECONDS = 15.0
_LONGEST_WAIT_SECONDS = 15 * 60.0
# Objects come back about in the order in which they were asked for: after so many that are not there yet, the rest is
# not looked at before the next time.
_MISSING_BEFORE_REST = 64
# What S3 says of an object that is being restored already, and of one that needs it not.
_ASKED_ALREADY = "RestoreAlreadyInProgress"
_NOT_ARCHIVED = "InvalidObjectState"
_NO_EXPEDITED = "GlacierExpeditedRetrievalNotAvailable"

Client = Any


@dataclass(frozen=True, slots=True)
class Archived:
    """An object that cannot be read as it is; `size` in bytes."""

    bucket: str
    key: str
    size: int

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class Waiting:
    """How far restoring has come, told before each pause of `seconds`."""

    ready: int
    total: int
    seconds: float


class Restoring:
    """Restores what `ask` is given, and waits for it. One use. Memory: the names of what is not there yet."""

    def __init__(self, client: Client, *, tier: Tier, days: int, clock: Clock | None = None) -> None:
        """`days` is how long S3 keeps the restored copies; `client` is boto3's, with room for THREADS connections."""
        self._client = client
        self._tier = tier
        self._days = days
        self._clock = clock or RealClock()
        self._missing: list[Archived] = []
        self.objects = 0
        self.bytes = 0

    def ask(self, objects: Iterable[Archived]) -> None:
        """Ask for every object, in parallel; one that is being restored already is only waited for.

        Raises what S3 refuses, FarSideForbiddenError where this user may not restore; what was asked for until then
        is restored all the same. One that is gone, or needs no restoring, is left to whoever reads it.
        """
        with ThreadPoolExecutor(THREADS, "ds3tool-restore") as pool:
            for batch in _batches(objects, _BATCH):
                for one, is_coming in zip(batch, pool.map(self._ask, batch), strict=True):
                    if is_coming:
                        self._missing.append(one)
                        self.objects += 1
                        self.bytes += one.size

    def _ask(self, one: Archived) -> bool:
        import botocore.exceptions

        request = {"Days": self._days, "GlacierJobParameters": {"Tier": self._tier.wire}}
        try:
            self._client.restore_object(Bucket=one.bucket, Key=one.key, RestoreRequest=request)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            code = _code(error)
            if code == _ASKED_ALREADY:
                return True
            if code == _NOT_ARCHIVED:
                return False
            if code == _NO_EXPEDITED:
                raise FarSideError(
                    f"{one} cannot be restored that quickly now: S3 has no capacity left for it ({code})",
                    code=code,
                    hint="ask for it with --restore-tier standard",
                ) from error
            failure = told(error, str(one))
            if isinstance(failure, FarSideNotFoundError):
                return False
            raise failure from error
        return True

    def wait(self, tell: Callable[[Waiting], None]) -> None:
        """Wait until all can be read, looking ever more rarely; `tell` is told before each pause.

        Raises what S3 refuses, and FarSideUnreachableError when nobody answers.
        """
        never = threading.Event()
        seconds = _FIRST_WAIT_SECONDS
        while True:
            self._look()
            if not self._missing:
                return
            tell(Waiting(self.objects - len(self._missing), self.objects, seconds))
            self._clock.wait(never, seconds)
            seconds = min(2 * seconds, _LONGEST_WAIT_SECONDS)

    def _look(self) -> None:
        """Drop from what is missing what has come; after many that have not, the rest stays unseen."""
        still: list[Archived] = []
        rest = iter(self._missing)
        with ThreadPoolExecutor(THREADS, "ds3tool-restore") as pool:
            while len(still) < _MISSING_BEFORE_REST and (batch := list(itertools.islice(rest, _MISSING_BEFORE_REST))):
                still += (one for one, there in zip(batch, pool.map(self._is_there, batch), strict=True) if not there)
        self._missing = [*still, *rest]

    def _is_there(self, one: Archived) -> bool:
        import botocore.exceptions

        try:
            head = self._client.head_object(Bucket=one.bucket, Key=one.key)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            failure = told(error, str(one))
            if isinstance(failure, FarSideNotFoundError):
                return True  # it was deleted meanwhile: whoever reads it says so
            raise failure from error
        if head.get("StorageClass") not in ARCHIVED_CLASSES and head.get("ArchiveStatus") is None:
            return True
        return restore_of(head.get("Restore")) is Restore.READY


def _code(error: Exception) -> str:
    response = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", ""))


def _batches(objects: Iterable[Archived], size: int) -> Iterator[list[Archived]]:
    rest = iter(objects)
    while batch := list(itertools.islice(rest, size)):
        yield batch
