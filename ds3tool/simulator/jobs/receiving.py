"""The body of a PUT on its way into a file: written as it arrives, digested beside it, held to what was promised."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import names
from ds3tool.protocol.model import ChecksumType
from ds3tool.simulator.buckets import Bucket, Rules
from ds3tool.simulator.tapes.media import write_all
from ds3tool.simulator.wire import checksums
from ds3tool.simulator.wire.follower import Follower
from ds3tool.simulator.wire.messages import Body
from ds3tool.simulator.wire.refusals import bad_request

# Up to here a body is read into memory and digested there; above, it goes from socket to file by itself.
_SMALL = 256 * 1024
Digest = tuple[ChecksumType, bytes]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of an upload: the digest of what came, and its object's ETag once that is complete."""

    digest: Digest
    etag: str | None


@dataclass(frozen=True, slots=True)
class Upload:
    """What a PUT object says: the client's own digest, metadata as the store keeps it, and the body."""

    bucket: Bucket
    name: str
    digest: Digest | None
    metadata: str | None
    body: Body
    user_id: str
    client: str


def check_kind(digest: Digest | None, rules: Rules, also: ChecksumType | None = None) -> None:
    """Raise a 400 for a client's digest of a kind that the data policy does not want, or none where it wants one.

    `also` is another kind that is welcome.
    """
    wanted = checksums.HEADERS[rules.checksum_type]
    if digest is None:
        if rules.digest_required:
            raise bad_request(f"The bucket's data policy demands the header {wanted}.")
    elif digest[0] not in (rules.checksum_type, also):
        raise bad_request(f"The bucket's data policy asks for {wanted}, not {checksums.HEADERS[digest[0]]}.")


def check_digest(promised: Digest | None, actual: Digest) -> None:
    """Raise a 400 when a client promised another digest than its bytes have."""
    if promised is not None and promised != actual:
        header = checksums.HEADERS[actual[0]]
        sent, computed = checksums.to_text(promised[1]), checksums.to_text(actual[1])
        message = f"BadDigest[400]: {header} is {sent}, but the bytes received have {computed}."
        raise bad_request(message, names.BAD_DIGEST)


def receive(body: Body, descriptor: int, kind: ChecksumType, promised: Digest | None) -> Digest:
    """Write a body to a file and return its digest of `kind`; a 400 when another one of that kind was promised."""
    digester = checksums.digester(kind)
    if body.length <= _SMALL:
        data = body.read(_SMALL)
        digester.update(data)
        write_all(descriptor, data)
    elif kind in checksums.CHEAP:
        for piece in body.pieces():
            digester.update(piece)
            write_all(descriptor, piece)
    else:
        with Follower(descriptor, digester, body.length) as follower:
            body.splice_to(descriptor, follower.arrived)
    actual = (kind, digester.digest())
    check_digest(promised, actual)
    return actual


@contextlib.contextmanager
def new_file(path: str | None) -> Iterator[int]:
    """Open a new file; whatever goes wrong inside, or is not renamed, does not stay. None: for no bytes, no file."""
    if path is None:
        yield -1
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
