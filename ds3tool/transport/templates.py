"""Request heads for the blobs of one job: all that does not change is formatted and encoded once."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ds3tool.errors import UsageError
from ds3tool.protocol.checksums import header_name
from ds3tool.protocol.metadata import HeaderLines
from ds3tool.protocol.model import ChecksumType
from ds3tool.protocol.signing import http_date
from ds3tool.protocol.targets import bucket_path, object_key, stand_for_themselves
from ds3tool.transport.pool import Transport

_JOB_ID = re.compile(r"[0-9A-Za-z_-]{1,100}")


class BlobHeads:
    """Makes signed heads of `PUT` or `GET /bucket/key?job=J&offset=N` in a few microseconds."""

    def __init__(self, transport: Transport, *, method: str, bucket: str, job_id: str) -> None:
        if _JOB_ID.fullmatch(job_id) is None:  # it comes from the other side, and stands in the request line
            raise UsageError(f"{job_id[:80]!r} is no job id")
        self._sign = transport.signer.for_blobs(method)
        self._time = transport.clock.time
        self._path = bucket_path(bucket) + "/"
        self._start = f"{method} {transport.target_prefix}"
        self._middle = f" HTTP/1.1\r\n{transport.fixed_head}Date: "
        self._second, self._date, self._dated = -1, "", ""
        self._job = f"?job={job_id}&offset="
        # What stands before a digest of the kind that was asked for last.
        self._kind: ChecksumType | None = None
        self._digest_line = ""

    def _renew(self, second: int) -> None:
        """Make what is the same in all heads of one second."""
        self._second, self._date = second, http_date(second)
        self._dated = f"{self._middle}{self._date}\r\nAuthorization: "

    def get(self, key: str, offset: int) -> bytes:
        """Return the head that asks for a blob."""
        second = int(self._time())
        if second != self._second:
            self._renew(second)
        path = self._path + object_key(key)
        return (
            f"{self._start}{path}{self._job}{offset}{self._dated}{self._sign(path, self._date, '')}\r\n\r\n"
        ).encode("latin-1")

    def get_all(self, keys: Sequence[str], offsets: Sequence[int]) -> list[bytes]:
        """Return the heads that ask for these blobs; none where a key is not its own path, so that `get` must look."""
        if not stand_for_themselves(keys):
            return []
        second = int(self._time())
        if second != self._second:
            self._renew(second)
        sign, start, path, job, dated, date = self._sign, self._start, self._path, self._job, self._dated, self._date
        return [
            f"{start}{path}{key}{job}{offset}{dated}{sign(path + key, date, '')}\r\n\r\n".encode("latin-1")
            for key, offset in zip(keys, offsets, strict=True)
        ]

    def put(
        self,
        key: str,
        offset: int,
        length: int,
        checksum: tuple[ChecksumType, str] | None,
        metadata: HeaderLines | None = None,
    ) -> bytes:
        """Return the head that `length` bytes with this digest (kind and base64, None for none) follow.

        `metadata` are lines as `protocol.metadata` makes them: names in lower case, all of it ASCII.
        """
        second = int(self._time())
        if second != self._second:
            self._renew(second)
        path = signed = self._path + object_key(key)
        more, digest = "", ""
        if checksum is not None:
            kind, digest = checksum
            if kind is not self._kind:
                self._kind, self._digest_line = kind, f"{header_name(kind)}: "
            more = f"{self._digest_line}{digest}\r\n"
        if metadata is not None:
            more += metadata.head
            signed = metadata.signed + path  # which is where the signed text has them: after the date
        return (
            f"{self._start}{path}{self._job}{offset}{self._dated}{self._sign(signed, self._date, digest)}\r\n"
            f"Content-Length: {length}\r\n{more}\r\n"
        ).encode("latin-1")
