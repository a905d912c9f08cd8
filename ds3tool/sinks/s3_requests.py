"""Requests that bring an object into S3, each held against our own digests of what was sent."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ds3tool.aws.failures import far_side
from ds3tool.errors import ChecksumError, FarSideError, FarSideForbiddenError, FarSideUnreachableError, SinkError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.checksums import to_base64
from ds3tool.protocol.crc_combination import combined
from ds3tool.protocol.model import ChecksumType
from ds3tool.sinks.s3_parts import Digests, Piece

_log = logging.getLogger(__name__)

_MD5 = re.compile(r"[0-9a-f]{32}")
# S3's words for bytes that are not what their digest says: they were damaged on the way.
_DAMAGED = frozenset({"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"})
_TAKEN = 412
_NOT_IMPLEMENTED = 501
_IS_THERE = "somebody wrote it meanwhile, or two keys have one name there; it was left as it is"


@dataclass(frozen=True, slots=True)
class SentPart:
    """A part that S3 has: its number (from 1), its ETag as S3 gave it, our digests and its length in bytes.

    `comparable`: that ETag is the MD5. `echoed`: S3 has answered with the CRC.
    """

    number: int
    etag: str
    digests: Digests
    length: int
    comparable: bool
    echoed: bool


@dataclass(frozen=True, slots=True)
class Begun:
    """An upload in parts: its id, and whether S3 keeps a CRC of the whole object.

    `asked_again`: the answer to an earlier try was lost, and S3 may have begun another upload then.
    """

    upload_id: str
    crc_of_whole: bool
    asked_again: bool


class S3Requests:
    """Speaks to one bucket; safe for several threads. Raises a FarSideError or FarSideUnreachableError for refusals.

    ChecksumError when S3 has other bytes than were sent, SinkError where a key is taken that was free.
    """

    def __init__(self, client: Any, bucket: str) -> None:  # noqa: ANN401  # boto3 makes its types at run time
        self.client = client
        self.bucket = bucket
        # Whether the service knows requests that hold only where nothing has the key; until it says otherwise.
        self._conditions = True

    def put(self, key: str, data: Piece, arguments: Mapping[str, Any], *, replace: bool) -> None:
        """Store an object in one request; without `replace` only where nothing has the key, or the same bytes."""
        digests = data.digests()

        def send(condition: Mapping[str, str]) -> Any:  # noqa: ANN401  # boto3's own dict
            return self.client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=data.body(),
                ContentMD5=to_base64(digests.md5),
                ChecksumCRC32=to_base64(digests.crc32),
                **arguments,
                **condition,
            )

        for is_last in (False, True):
            try:
                answer = self._unless_taken(
                    key, send, replace=replace, is_same=lambda: self._has(key, data.length, digests)
                )
            except FarSideError as error:
                if error.code not in _DAMAGED or is_last:
                    raise
                _log.warning("%s; it is sent again", error)
                continue
            if answer is None:
                return
            if not _etag(answer) and not self._has_written(key, data.length, digests):
                raise self._foreign(key)
            if _agrees(answer, digests) is not False:
                return
            if is_last:
                raise _damaged(key, 0, digests, answer)
            # What is there is ours, and wrong: it makes room for the next try.
            replace = True
            _log.warning("%s: S3 has other bytes than were sent; they are sent again", key)

    def create(self, key: str, arguments: Mapping[str, Any]) -> Begun:
        """Begin an upload in parts."""
        with far_side(self._name(key)):
            answer = self.client.create_multipart_upload(
                Bucket=self.bucket, Key=key, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT", **arguments
            )
        if not answer.get("UploadId"):
            raise self._foreign(key)
        asked_again = answer["ResponseMetadata"].get("RetryAttempts", 0) > 0
        return Begun(str(answer["UploadId"]), answer.get("ChecksumType") == "FULL_OBJECT", asked_again)

    def part(self, key: str, upload_id: str, data: Piece, *, number: int, offset: int) -> SentPart:
        """Send one part, which begins at `offset` of the object."""
        digests = data.digests()
        for is_last in (False, True):
            try:
                with far_side(self._name(key)):
                    answer = self.client.upload_part(
                        Bucket=self.bucket,
                        Key=key,
                        UploadId=upload_id,
                        PartNumber=number,
                        Body=data.body(),
                        ContentMD5=to_base64(digests.md5),
                        ChecksumCRC32=to_base64(digests.crc32),
                    )
            except FarSideError as error:
                if error.code not in _DAMAGED or is_last:
                    raise
                _log.warning("%s; part %d is sent again", error, number)
                continue
            if not _etag(answer):
                raise self._foreign(key)
            agrees = _agrees(answer, digests)
            if agrees is not False:
                echoed = answer.get("ChecksumCRC32") == to_base64(digests.crc32)
                return SentPart(
                    number, answer["ETag"], digests, data.length, _etag(answer) == digests.md5.hex(), echoed
                )
            if is_last:
                raise _damaged(key, offset, digests, answer)
            _log.warning("%s: S3 has another part %d than was sent; it is sent again", key, number)
        raise AssertionError(key)

    def complete(
        self, key: str, upload_id: str, parts: Sequence[SentPart], *, crc_of_whole: bool, replace: bool
    ) -> bool:
        """Let an object appear of all of its parts, in their order; hold its size and ETag against ours.

        Without `replace` only where nothing has the key; where it has the same bytes, that is as good, and the upload
        is still there: then it returns False.
        """
        size = sum(one.length for one in parts)
        crc = to_base64(combined(ChecksumType.CRC_32, ((one.digests.crc32, one.length) for one in parts)))
        whole = {"ChecksumCRC32": crc, "ChecksumType": "FULL_OBJECT"} if crc_of_whole else {}
        listed = [
            {"PartNumber": one.number, "ETag": one.etag}
            | ({"ChecksumCRC32": to_base64(one.digests.crc32)} if one.echoed else {})
            for one in parts
        ]
        md5 = hashlib.md5(b"".join(one.digests.md5 for one in parts), usedforsecurity=False).hexdigest()
        etag = f"{md5}-{len(parts)}" if all(one.comparable for one in parts) else None

        def send(condition: Mapping[str, str]) -> Any:  # noqa: ANN401  # boto3's own dict
            return self.client.complete_multipart_upload(
                Bucket=self.bucket,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": listed},
                **whole,
                **condition,
            )

        def is_whole() -> bool | None:
            return self._is_whole(key, size, etag, crc if crc_of_whole else None)

        try:
            answer = self._unless_taken(key, send, replace=replace, is_same=lambda: is_whole() is True)
        except FarSideError as error:
            # The reply to a first try may have been lost: then it is not there any more because it is complete.
            if error.code != "NoSuchUpload" or is_whole() is not True:
                raise
            return True
        if answer is None:
            return False
        stated, found = _etag(answer), is_whole()
        if not stated and found is not True:
            raise self._foreign(key)
        if found is False or (etag and _is_etag_of_parts(stated) and stated != etag):
            raise ChecksumError(
                f"{key}: S3 has made another object of the parts than was sent",
                key=key,
                offset=0,
                expected=etag or "",
                actual=stated,
                hint="look at what has that key there, delete it, and get the object again",
            )
        return True

    # -- what is there -----------------------------------------------------------------------------------------

    def head(self, key: str) -> Mapping[str, Any] | None:
        """Return what S3 says of the object that has a key, None when nothing has."""
        try:
            with far_side(self._name(key)):
                found: Mapping[str, Any] = self.client.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
        except FarSideError as error:
            if error.status == 404:
                return None
            raise
        return found

    def _has(self, key: str, size: int, digests: Digests) -> bool:
        """Whether a key has just these bytes."""
        found = self.head(key)
        return found is not None and found["ContentLength"] == size and _agrees(found, digests) is True

    def _has_written(self, key: str, size: int, digests: Digests) -> bool:
        """Whether a key has these bytes after an answer that does not say so."""
        try:
            return self._has(key, size, digests)
        except FarSideForbiddenError:  # who may write need not be one who may read
            return False

    def _is_whole(self, key: str, size: int, etag: str | None, crc: str | None) -> bool | None:
        """Whether a key has an object of this size, and made of these parts; None where S3 does not tell."""
        try:
            found = self.head(key)
        except FarSideForbiddenError:  # who may write need not be one who may read
            return None
        if found is None or found["ContentLength"] != size:
            return False
        if crc is not None and found.get("ChecksumType") == "FULL_OBJECT" and "ChecksumCRC32" in found:
            return bool(found["ChecksumCRC32"] == crc)
        if etag is None or _is_encrypted(found) or not _is_etag_of_parts(_etag(found)):
            return None
        return _etag(found) == etag

    def _unless_taken(
        self,
        key: str,
        send: Callable[[Mapping[str, str]], Any],
        *,
        replace: bool,
        is_same: Callable[[], bool],
    ) -> Any:  # noqa: ANN401  # boto3's own dict
        """Return the answer; None where the key has the same bytes already. SinkError where it has others.

        A service that knows no such condition is asked beforehand.
        """
        condition = {} if replace or not self._conditions else {"IfNoneMatch": "*"}
        if not replace and not condition and self.head(key) is not None:
            return self._taken(key, is_same)
        try:
            with far_side(self._name(key)):
                return send(condition)
        except FarSideError as error:
            if error.status != _TAKEN or not condition:
                raise
            if self.head(key) is not None:
                return self._taken(key, is_same)
        except FarSideUnreachableError as error:
            if not condition or _status(error) != _NOT_IMPLEMENTED:
                raise
            self._conditions = False
            return self._unless_taken(key, send, replace=replace, is_same=is_same)
        # Nothing has the key: there are services (SeaweedFS) that take what begins like `key/` for an object.
        with far_side(self._name(key)):
            return send({})

    def _taken(self, key: str, is_same: Callable[[], bool]) -> None:
        if not is_same():
            raise SinkError(f"{self._name(key)} is there already", hint=_IS_THERE)

    def _foreign(self, key: str) -> FarSideUnreachableError:
        """Return the error for an answer that lacks what each of S3's has: a proxy gave it, and S3 was not reached."""
        return FarSideUnreachableError(f"{self._name(key)}: the answer is none of the service's: it names nothing")

    def _name(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"


def is_md5(etag: str) -> bool:
    """Whether an ETag, without its quotes, has the look of an MD5."""
    return _MD5.fullmatch(etag) is not None


def is_etag_md5(head: Mapping[str, Any]) -> bool:
    """Whether an answer's ETag is the MD5 of the bytes, as far as can be seen; it is none where a key encrypts them."""
    return not _is_encrypted(head) and is_md5(_etag(head))


def _etag(answer: Mapping[str, Any]) -> str:
    """Return an answer's ETag without its quotes; of S3's, those that are digests are in lower case."""
    return str(answer.get("ETag", "")).strip('"')


def _is_encrypted(answer: Mapping[str, Any]) -> bool:
    return str(answer.get("ServerSideEncryption", "")).startswith("aws:kms") or bool(answer.get("SSECustomerAlgorithm"))


def _is_etag_of_parts(etag: str) -> bool:
    return is_md5(etag.partition("-")[0]) and "-" in etag


def _agrees(answer: Mapping[str, Any], digests: Digests) -> bool | None:
    """Whether what S3 answers is of the same bytes; None where it says nothing that can be compared.

    Not every service's ETag is an MD5: where it answers with the right CRC, that counts.
    """
    if _etag(answer) == digests.md5.hex():
        return True
    crc = answer.get("ChecksumCRC32")
    if crc is not None and answer.get("ChecksumType") != "COMPOSITE":
        return bool(crc == to_base64(digests.crc32))
    return False if is_etag_md5(answer) else None


def _damaged(key: str, offset: int, digests: Digests, answer: Mapping[str, Any]) -> ChecksumError:
    return ChecksumError(
        f"{key}: S3 has other bytes than were sent from {offset} on",
        key=key,
        offset=offset,
        expected=digests.md5.hex(),
        actual=_etag(answer),
        hint="get it again; if it happens again, suspect the network or this host's memory",
    )


def _status(error: FarSideUnreachableError) -> int:
    """Return the HTTP status of an answer that counts as none; 0 where there was none indeed."""
    response = getattr(error.__cause__, "response", {})
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
