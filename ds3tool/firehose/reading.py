"""The bytes of a delivered object as they come, gone on with where a connection breaks off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ds3tool.aws.failures import far_side
from ds3tool.errors import ChecksumError, FarSideError, FarSideUnreachableError, SourceError

CHUNK_BYTES = 256 * 1024
# What botocore says at a body's end that has another digest than was stated.
_DIGESTS = re.compile(r"Expected checksum (\S+) did not match calculated checksum:? (\S+)")
# So often a body may break off without a byte having come in between.
_TRIES = 5


def object_chunks(client: Any, bucket: str, key: str) -> Iterator[bytes]:  # noqa: ANN401  # boto3's client
    """Yield an object's bytes, once and in order, in chunks of at most 256 KiB.

    A body that breaks off is asked for again from there, and has to be of the same object. Raises a FarSideError for
    one that is not there or may not be read, FarSideUnreachableError when it breaks off time and again, SourceError
    when it is replaced meanwhile, ChecksumError when all has come and is not what S3 states.
    """
    what = f"s3://{bucket}/{key}"
    with far_side(what):
        reply = client.get_object(Bucket=bucket, Key=key)
    size, etag = int(reply["ContentLength"]), reply["ETag"]
    done = failed = 0
    while True:
        try:
            with far_side(what):
                for chunk in reply["Body"].iter_chunks(CHUNK_BYTES):
                    done, failed = done + len(chunk), 0
                    yield chunk
            if done == size:
                return
            raise FarSideUnreachableError(f"{what}: its bytes end {size - done:,} before its end")
        except FarSideError as error:
            wrong = _DIGESTS.search(str(error.__cause__))
            if wrong is None:
                raise
            raise ChecksumError(
                f"{what}: its bytes are not those that S3 states the digest of",
                key=key,
                offset=0,
                expected=wrong[1],
                actual=wrong[2],
                hint="read it again; should it stay so, the object is damaged",
            ) from error
        except FarSideUnreachableError:
            failed += 1
            if failed == _TRIES or done == size:
                raise
        finally:
            reply["Body"].close()
        reply = _rest(client, bucket, key, done, etag)


def _rest(client: Any, bucket: str, key: str, offset: int, etag: str) -> Any:  # noqa: ANN401  # botocore's own dict
    """Return the answer with what is left of an object; SourceError where it is another by now."""
    from botocore.exceptions import ClientError

    what = f"s3://{bucket}/{key}"
    try:
        with far_side(what):
            return client.get_object(Bucket=bucket, Key=key, Range=f"bytes={offset}-", IfMatch=etag)
    except Exception as error:
        cause = error.__cause__
        if isinstance(cause, ClientError) and cause.response["ResponseMetadata"].get("HTTPStatusCode") == 412:
            raise SourceError(f"{what} was replaced while it was read", hint="read it again") from error
        raise
