"""Request heads for the blobs of one job: all that does not change is formatted and encoded once."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ds3tool.errors import UsageError
from ds3tool.protocol.checksums import header_name
from ds3tool.protocol.model import ChecksumType
from ds3tool.protocol.signing import http_date
from ds3tool.protocol.targets import object_path
from ds3tool.transport.pool import Transport

_JOB_ID = re.compile(r"[0-9A-Za-z_-]{1,100}")


class BlobHeads:
    """Makes signed heads of `PUT` or `GET /bucket/key?job=J&offset=N` in a few microseconds."""

    def __init__(self, transport: Transport, *, method: str, bucket: str, job_id: str) -> None:
        if _JOB_ID.fullmatch(job_id) is None:  # it comes from the other side, and stands in the request line
            raise UsageError(f"{job_id[:80]!r} is no job id")
        self._sign = transport.signer.for_blobs(method)
        self._time = transport.clock.time
        self._bucket = bucket
        self._start = f"{method} {transport.target_prefix}"
        self._middle = f" HTTP/1.1\r\n{transport.fixed_head}Date: "
        self._job = f"?job={job_id}&offset="

    def get(self, key: str, offset: int) -> bytes:
        """Return the head that asks for a blob."""
        path = object_path(self._bucket, key)
        date = http_date(self._time())
        return (
            f"{self._start}{path}{self._job}{offset}{self._middle}{date}\r\n"
            f"Authorization: {self._sign(path, date, '')}\r\n\r\n"
        ).encode("latin-1")

    def put(
        self,
        key: str,
        offset: int,
        length: int,
        checksum: tuple[ChecksumType, str] | None,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> bytes:
        """Return the head that `length` bytes with this digest (kind and base64, None for none) follow.

        `metadata` are headers as `protocol.metadata` makes them: names in lower case, all of it ASCII.
        """
        path = object_path(self._bucket, key)
        date = http_date(self._time())
        more, digest, signed = "", "", path
        if checksum is not None:
            digest = checksum[1]
            more = f"{header_name(checksum[0])}: {digest}\r\n"
        if metadata:
            more += "".join(f"{name}: {value}\r\n" for name, value in metadata)
            # The signed text has these lines between the date and the path.
            signed = "".join(f"{name}:{value}\n" for name, value in sorted(metadata)) + path
        return (
            f"{self._start}{path}{self._job}{offset}{self._middle}{date}\r\n"
            f"Authorization: {self._sign(signed, date, digest)}\r\n"
            f"Content-Length: {length}\r\n{more}\r\n"
        ).encode("latin-1")
