"""Requests to S3 whose answers are lost, or of services that answer otherwise than S3 does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ds3tool.errors import ChecksumError, FarSideForbiddenError, FarSideUnreachableError, SinkError
from ds3tool.sinks.s3_parts import Piece, Room
from ds3tool.sinks.s3_requests import S3Requests
from tests.far.servers import FarSide

DATA = b"all the bytes" * 1000
Call = Callable[..., Any]


class Altered:
    """A client of S3, of which some calls do something else: they are given the call that they stand in for."""

    def __init__(self, far: FarSide, **others: Callable[..., Any]) -> None:
        self._client = far.client()
        self._others = others

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever boto3 has
        call = getattr(self._client, name)
        other = self._others.get(name)
        return call if other is None else lambda **named: other(call, **named)


def refusal(code: str, status: int) -> ClientError:
    """Return what boto3 raises when a service refuses."""
    about: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(about, "Any")


def no_conditions(call: Call, **named: Any) -> Any:  # noqa: ANN401  # boto3's own
    """Refuse what holds only where nothing has the key."""
    if "IfNoneMatch" in named:
        raise refusal("NotImplemented", 501)
    return call(**named)


def lost(code: str, status: int) -> Call:
    """Do what was asked, and answer as to a second try."""

    def act(call: Call, **named: Any) -> Any:  # noqa: ANN401  # boto3's own
        call(**named)
        raise refusal(code, status)

    return act


def altered(**changes: Any) -> Call:  # noqa: ANN401  # of any answer
    """Answer otherwise."""

    def act(call: Call, **named: Any) -> Any:  # noqa: ANN401  # boto3's own
        return {**call(**named), **changes}

    return act


def piece(data: bytes = DATA) -> Piece:
    """Return bytes that are whole."""
    gathered = Room(len(data)).take(len(data), stopped=lambda: False)
    gathered.write(0, data)
    return gathered.piece()


def put(client: Altered, bucket: str) -> None:
    """Store an object."""
    S3Requests(client, bucket).put("film", piece(), {}, replace=False)


def complete(client: Altered, bucket: str) -> bool:
    """Store an object in one part."""
    requests = S3Requests(client, bucket)
    begun = requests.create("film", {})
    part = requests.part("film", begun.upload_id, piece(), number=1, offset=0)
    return requests.complete("film", begun.upload_id, [part], crc_of_whole=begun.crc_of_whole, replace=False)


@pytest.mark.parametrize("store", [put, complete])
def test_a_service_without_conditions_is_asked_before(moto: FarSide, store: Call) -> None:
    """Where a service cannot see to it that nothing is replaced, a look beforehand does, and all else goes on."""
    client = Altered(moto, put_object=no_conditions, complete_multipart_upload=no_conditions)
    bucket = moto.bucket()
    store(client, bucket)
    assert moto.contents(bucket) == {"film": DATA}
    taken = moto.bucket({"film": b"another's"})
    with pytest.raises(SinkError, match="is there already"):
        store(client, taken)
    assert moto.contents(taken) == {"film": b"another's"}


def test_a_lost_answer_to_a_put_is_no_failure(moto: FarSide) -> None:
    """When the second try finds the key taken by the first, the object is there."""
    bucket = moto.bucket()
    put(Altered(moto, put_object=lost("PreconditionFailed", 412)), bucket)
    assert moto.contents(bucket) == {"film": DATA}


@pytest.mark.parametrize(("code", "status"), [("NoSuchUpload", 404), ("PreconditionFailed", 412)])
def test_a_lost_answer_to_a_completion_is_no_failure(moto: FarSide, code: str, status: int) -> None:
    """When the second try finds the upload gone, or the key taken, by the first, the object is there."""
    bucket = moto.bucket()
    complete(Altered(moto, complete_multipart_upload=lost(code, status)), bucket)
    assert moto.contents(bucket) == {"film": DATA}


def nothing(call: Call, **named: Any) -> Any:  # noqa: ANN401  # boto3's own
    """Do nothing, and answer as something between us and S3 does that says 200 to all."""
    return {"ResponseMetadata": {"HTTPStatusCode": 200}}


def forbidden(call: Call, **named: Any) -> Any:  # noqa: ANN401  # boto3's own
    """Refuse to whom it may not concern."""
    raise refusal("AccessDenied", 403)


@pytest.mark.parametrize(
    ("store", "operation"),
    [
        (put, "put_object"),
        (complete, "create_multipart_upload"),
        (complete, "upload_part"),
        (complete, "complete_multipart_upload"),
    ],
)
@pytest.mark.parametrize("may_look", [True, False])
def test_an_answer_that_names_nothing_is_none_of_s3(
    moto: FarSide, store: Call, operation: str, *, may_look: bool
) -> None:
    """A 200 without what S3 always answers is no proof that anything was stored, whether one may look or not."""
    others = {operation: nothing} if may_look else {operation: nothing, "head_object": forbidden}
    with pytest.raises(FarSideUnreachableError, match="none of the service's"):
        store(Altered(moto, **others), moto.bucket())


@pytest.mark.parametrize(("store", "operation"), [(put, "put_object"), (complete, "complete_multipart_upload")])
def test_what_is_there_after_an_answer_that_names_nothing_is_there(moto: FarSide, store: Call, operation: str) -> None:
    """When the answer says nothing, and the key has the very bytes, all is well."""

    def silent(call: Call, **named: Any) -> Any:  # noqa: ANN401  # boto3's own
        call(**named)
        return {}

    bucket = moto.bucket()
    store(Altered(moto, **{operation: silent}), bucket)
    assert moto.contents(bucket) == {"film": DATA}


def test_an_upload_that_somebody_else_aborted_is_told(moto: FarSide) -> None:
    """When the upload is gone and the object is not there, nothing pretends that it is."""

    def gone(call: Call, **named: Any) -> Any:  # noqa: ANN401  # boto3's own
        raise refusal("NoSuchUpload", 404)

    with pytest.raises(Exception, match="NoSuchUpload"):
        complete(Altered(moto, complete_multipart_upload=gone), moto.bucket())


def test_etags_of_encrypted_objects_are_compared_with_nothing(moto: FarSide) -> None:
    """Where a key of KMS encrypts, the ETag is no MD5: what differs is no damage then."""
    kms = altered(ETag='"0123456789abcdef0123456789abcdef"', ServerSideEncryption="aws:kms")
    bucket = moto.bucket()
    put(Altered(moto, put_object=kms), bucket)
    assert moto.contents(bucket) == {"film": DATA}


def test_an_etag_that_is_no_md5_counts_less_than_the_right_crc(moto: FarSide) -> None:
    """Of a service whose ETags are something else, the CRC that it answers with decides, either way."""
    etag = '"0123456789abcdef0123456789abcdef"'
    put(Altered(moto, put_object=altered(ETag=etag, ChecksumCRC32=_crc())), moto.bucket())
    with pytest.raises(ChecksumError):
        put(Altered(moto, put_object=altered(ETag=etag, ChecksumCRC32="AAAAAA==")), moto.bucket())


@pytest.mark.parametrize(
    "changes", [{"ContentLength": 3}, {"ChecksumType": "FULL_OBJECT", "ChecksumCRC32": "AAAAAA=="}]
)
def test_an_object_made_of_other_parts_is_told(moto: FarSide, changes: dict[str, Any]) -> None:
    """When what has the key after the completion has another size or digest, that is an error that names it."""
    client = Altered(moto, head_object=altered(**changes))
    with pytest.raises(ChecksumError, match="has made another object"):
        complete(client, moto.bucket())


def test_who_may_only_write_is_trusted_by_etag(moto: FarSide) -> None:
    """Without leave to look at the object, the ETag of the completion's own answer is what is compared."""
    bucket = moto.bucket()
    assert complete(Altered(moto, head_object=forbidden), bucket)
    assert moto.contents(bucket) == {"film": DATA}
    wrong = altered(ETag='"0123456789abcdef0123456789abcdef-1"')
    with pytest.raises(ChecksumError):
        complete(Altered(moto, head_object=forbidden, complete_multipart_upload=wrong), moto.bucket())
    with pytest.raises(FarSideForbiddenError):
        S3Requests(Altered(moto, head_object=forbidden), bucket).head("film")


def _crc() -> str:
    from ds3tool.protocol.checksums import to_base64

    return to_base64(piece().digests().crc32)
