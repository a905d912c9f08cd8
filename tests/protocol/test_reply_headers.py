"""What replies say in their headers: HEAD, the echo of a put, pages, and when to ask again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ds3tool.errors import ProtocolError
from ds3tool.protocol import responses
from ds3tool.protocol.messages import Headers, Response
from ds3tool.protocol.model import ChecksumType, ObjectHead, PutResult
from tests.golden.documents import RESPONSES

GOLDEN = {one.file: one for one in RESPONSES}


def _reply(pairs: list[tuple[str, str]], body: bytes = b"", status: int = 200) -> Response:
    return Response(status, Headers(pairs), (body,) if body else ())


def test_the_head_of_an_object() -> None:
    """Size, ETag without quotes, creation, version, each blob's digest by offset, and metadata, decoded."""
    head = responses.object_head("2025/readings.bin")(
        _reply(
            [
                ("Content-Length", "15728640"),
                ("ETag", '"e4d909c290d0fb1ca068ffaddf22cbd0-2"'),
                ("creation-date", "2025-03-04T06:00:01.250Z"),
                ("version-id", "0b1ec700-0000-4000-8000-000000000001"),
                ("ds3-blob-checksum-type", "MD5"),
                ("ds3-blob-checksum-offset-0", "gUwmVnfHJJ/g0tIEbfC7vw=="),
                ("Ds3-Blob-Checksum-Offset-10485760", "sLwPGNJd/C2QlMV+oVxfTQ=="),
                ("x-amz-meta-ds3-mode", "100644"),
                ("X-Amz-Meta-Title", "Zo%C3%AB"),
            ]
        )
    )
    assert head == ObjectHead(
        key="2025/readings.bin",
        size=15728640,
        etag="e4d909c290d0fb1ca068ffaddf22cbd0-2",
        created=datetime(2025, 3, 4, 6, 0, 1, 250_000, tzinfo=UTC),
        version_id="0b1ec700-0000-4000-8000-000000000001",
        checksum_type=ChecksumType.MD5,
        checksums={0: "gUwmVnfHJJ/g0tIEbfC7vw==", 10485760: "sLwPGNJd/C2QlMV+oVxfTQ=="},
        metadata={"ds3-mode": "100644", "title": "Zoë"},
    )


def test_the_head_of_an_old_release() -> None:
    """With nothing but a length, everything else is None or empty."""
    head = responses.object_head("k")(_reply([("content-length", "0")]))
    assert head == ObjectHead("k", 0, None, None, None, None, {}, {})


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("Content-Length", "-1")],
        [("Content-Length", "many")],
        [("Content-Length", "5, 6")],
        [("Content-Length", "1"), ("ds3-blob-checksum-offset-x", "AAAA")],
        [("Content-Length", "1"), ("creation-date", "yesterday")],
    ],
)
def test_a_head_that_makes_no_sense_is_refused(pairs: list[tuple[str, str]]) -> None:
    """Without a size, or with numbers and dates that are none, a head is a ProtocolError that names the key."""
    with pytest.raises(ProtocolError, match="k'"):
        responses.object_head("k")(_reply(pairs))


def test_the_echo_of_a_put() -> None:
    """The digest that the appliance computed, its kind and the version come back with a put."""
    result = responses.object_put(
        _reply([("ETag", '"abc"'), ("Content-CRC32C", "4waSgw=="), ("version-id", "v"), ("Content-Length", "0")])
    )
    assert result == PutResult("abc", ChecksumType.CRC_32C, "4waSgw==", "v")
    assert responses.object_put(_reply([("x-amz-request-id", "7")])) == PutResult()


@pytest.mark.parametrize(
    ("status", "pairs"),
    [
        (200, []),
        (200, [("Content-Type", "text/html")]),
        (207, [("x-amz-request-id", "7")]),
        (207, [("Content-MD5", "x")]),
    ],
)
def test_a_success_that_nothing_shows_to_be_the_appliances_is_none(status: int, pairs: list[tuple[str, str]]) -> None:
    """A 2xx to a put without digest and request number, or one that is not 200, does not acknowledge the bytes."""
    with pytest.raises(ProtocolError):
        responses.object_put(Response(status, Headers(pairs), (b"",)))


@pytest.mark.parametrize(
    ("pairs", "wait"),
    [([("Retry-After", "5")], timedelta(seconds=5)), ([], None), ([("Retry-After", "later")], None)],
)
@pytest.mark.parametrize("file", ["responses/chunks-ready.xml", "responses/chunks-ready-none.xml"])
def test_ready_chunks_say_when_to_ask_again(file: str, pairs: list[tuple[str, str]], wait: timedelta | None) -> None:
    """Retry-After stands beside the chunks, be there any or none; a release that leaves it out is survived."""
    ready = responses.ready_chunks(_reply(pairs, GOLDEN[file].data))
    assert ready.retry_after == wait
    assert (ready.job, ready.chunks) == (GOLDEN[file].value.job, GOLDEN[file].value.chunks)  # type: ignore[attr-defined]


def test_a_page_says_how_many_there_are() -> None:
    """The numbers of items after a page and in all are those of its headers, or None."""
    body = GOLDEN["responses/tapes.xml"].data
    page = responses.tapes(_reply([("page-truncated", "41"), ("total-result-count", "42")], body))
    assert (len(page.items), page.remaining, page.total) == (1, 41, 42)
    page = responses.tapes(_reply([], body))
    assert (page.remaining, page.total) == (None, None)


def test_all_tapes_obeyed() -> None:
    """A 204, and a 200 without a body, mean that no tape failed."""
    assert responses.tape_failures(_reply([], status=204)) == ()
    assert responses.tape_failures(_reply([])) == ()


def test_failures_without_names_are_not_hidden() -> None:
    """A 207 that does not say which tapes failed is a ProtocolError, not success."""
    with pytest.raises(ProtocolError, match="207"):
        responses.tape_failures(_reply([], status=207))


def test_a_job_that_was_not_made_is_told() -> None:
    """A 204 to a bulk call means that no job was made, and the error says so."""
    with pytest.raises(ProtocolError, match="no job"):
        responses.job(_reply([], status=204))
