"""Where a measurement puts its objects, and how nothing of them stays there."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterable

from ds3tool.client import Ds3Client
from ds3tool.clock import Clock
from ds3tool.errors import Ds3Error, NotFoundError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import Versioning

_log = logging.getLogger(__name__)

# What a cancelled job has declared goes at once, or a little later.
_PATIENCE_SECONDS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, slots=True)
class Ground:
    """A prefix that nobody else writes below, for it ends in letters that were drawn for it."""

    bucket: str
    prefix: str
    versioning: Versioning

    @classmethod
    def below(cls, bucket: str, prefix: str, versioning: Versioning) -> Ground:
        """Return a new one below `prefix`, which is empty or ends in a slash."""
        return cls(bucket, f"{prefix}bench-{secrets.token_hex(6)}/", versioning)

    @property
    def address(self) -> str:
        """Its address, as people write it."""
        return f"ds3://{self.bucket}/{self.prefix}"

    def clear(self, client: Ds3Client, jobs: Iterable[str], clock: Clock) -> list[str]:
        """Remove all that is there, and nothing else; return what could not be done of it, each a sentence.

        The jobs that brought it are cancelled first: what is not on tape by then never gets there.
        """
        troubles: list[str] = []
        for job_id in jobs:
            try:
                self._cancel(client, job_id)
            except NotFoundError:
                continue  # all of it was on tape already
            except Ds3Error as error:
                troubles.append(
                    f"job {job_id} could not be cancelled ({error.message}); end it: ds3tool job cancel {job_id}"
                )
        try:
            left = self._remove(client, clock)
        except Ds3Error as error:
            _log.info("what is below %s could not be removed", self.address, exc_info=True)
            troubles.append(f"what is below {self.address} could not all be removed ({error.message}){self._way}")
        else:
            if left:
                troubles.append(f"{left:,} objects are left below {self.address}{self._way}")
        return troubles

    def _cancel(self, client: Ds3Client, job_id: str) -> None:
        """Cancel a job that has nothing of anybody else; an appliance may have joined it with another's."""
        details = client.get_job(job_id)
        keys = [blob.key for chunk in details.chunks for blob in chunk.blobs]
        if keys and all(key.startswith(self.prefix) for key in keys):
            client.cancel_job(job_id)

    @property
    def _way(self) -> str:
        return f"; remove it: ds3tool rm -r {self.address}"

    def _remove(self, client: Ds3Client, clock: Clock) -> int:
        """Remove what is listed until nothing is; return how many there are when patience ends."""
        never = threading.Event()
        for seconds in _PATIENCE_SECONDS:
            if seconds:
                clock.wait(never, seconds)
            found = self._found(client)
            if not found:
                return 0
            for _ in client.delete_versions(self.bucket, found):
                pass  # what it could not delete is found again
        return len(self._found(client))

    def _found(self, client: Ds3Client) -> list[tuple[str, str | None]]:
        """Return what is there, as keys and versions; whatever an appliance lists beyond the prefix is not."""
        versions = self.versioning is not Versioning.NONE
        return [
            (one.key, one.version_id if versions else None)
            for one in client.list_objects(self.bucket, prefix=self.prefix, versions=versions)
            if one.key.startswith(self.prefix)
        ]
