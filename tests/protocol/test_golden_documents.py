"""Both directions against the golden documents: what we write is exactly them, what we read means what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from ds3tool.errors import ProtocolError
from ds3tool.protocol import requests, responses, xmlcodec
from ds3tool.protocol.messages import Headers, Request, Response
from ds3tool.protocol.model import ErrorDocument
from tests.golden.documents import REQUESTS, RESPONSES, Golden

BUILDERS: dict[str, Callable[[Any], Request]] = {
    "bulk put": lambda objects: requests.create_put_job("b", objects),
    "bulk get": lambda objects: requests.create_get_job("b", objects),
    "verify": lambda objects: requests.create_verify_job("b", objects),
    "placement": lambda objects: requests.get_placement("b", objects),
    "delete objects": lambda keys: requests.delete_objects("b", keys),
}

PARSERS: dict[str, Callable[[Response], object]] = {
    "service": responses.service,
    "listing": responses.listing,
    "delete objects": responses.deleted,
    "job": responses.job,
    "chunks ready": responses.job,
    "chunk": responses.chunk,
    "jobs": responses.jobs,
    "job records": lambda response: responses.job_records(response).items,
    "tapes": lambda response: responses.tapes(response).items,
    "objects": lambda response: responses.object_details(response).items,
    "placed blobs": responses.blob_placement,
    "bucket": responses.bucket,
    "data policy": responses.data_policy,
    "data policies": lambda response: responses.data_policies(response).items,
    "persistence rules": lambda response: responses.persistence_rules(response).items,
    "tape": responses.tape,
    "tape failures": responses.tape_failures,
    "placement": responses.placement,
    "object": responses.object_record,
    "cache state": responses.cache_state,
    "system information": responses.system_information,
    "system health": responses.system_health,
    "error": lambda response: responses.parse_error_document(response.body),
}


def _named(goldens: Sequence[Golden]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("golden", goldens, ids=[f"{one.file}-{one.kind}" for one in goldens])


def _reply(blocks: Iterable[bytes], status: int = 200) -> Response:
    return Response(status, Headers(), blocks)


def _bytes(body: object) -> bytes:
    return body if isinstance(body, bytes) else b"".join(body)  # type: ignore[arg-type]  # a BlockBody is iterable


@_named(REQUESTS)
def test_a_builder_writes_the_golden_request(golden: Golden) -> None:
    """The body that the client sends is the golden document, byte for byte."""
    assert _bytes(BUILDERS[golden.kind](golden.value).body) == golden.data


@_named(REQUESTS)
def test_another_xml_reader_finds_the_keys_in_the_golden_request(golden: Golden) -> None:
    """The keys in a golden request, read by ElementTree, are those that its value names."""
    root = ET.fromstring(golden.data)
    assert isinstance(golden.value, tuple)
    found = [one.get("Name") or one.findtext("Key") for one in root.iter("Object")]
    assert found == [one[0] if isinstance(one, tuple) else one.key for one in golden.value]


@_named(RESPONSES)
def test_a_parser_reads_the_golden_reply(golden: Golden) -> None:
    """The value of a golden reply is the one that documents.py says it means."""
    assert PARSERS[golden.kind](_reply((golden.data,))) == golden.value


@_named(RESPONSES)
def test_bytes_may_arrive_one_by_one(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply means the same when expat is fed one byte at a time."""
    monkeypatch.setattr(xmlcodec, "_FEED_BYTES", 1)
    blocks = (golden.data[at : at + 1] for at in range(len(golden.data)))
    assert PARSERS[golden.kind](_reply(blocks)) == golden.value


@_named(RESPONSES)
def test_a_reply_cut_short_is_refused_wherever_it_is_cut(golden: Golden) -> None:
    """No beginning of a golden reply passes for a whole one; a refusal's document merely says nothing then."""
    step = max(1, len(golden.data) // 50)
    for end in range(0, len(golden.data), step):
        reply = _reply((golden.data[:end],), status=207)
        if golden.kind == "error":
            assert responses.parse_error_document(reply.body) == ErrorDocument()
        else:
            with pytest.raises(ProtocolError):
                PARSERS[golden.kind](reply)


@_named([one for one in RESPONSES if one.kind != "error"])
def test_the_root_of_another_document_is_refused(golden: Golden) -> None:
    """A reply of another kind is a ProtocolError that names both roots, not an empty value."""
    with pytest.raises(ProtocolError, match="its root is 'Surprise', not "):
        PARSERS[golden.kind](_reply((b"<Surprise/>",)))


def test_every_kind_of_document_is_covered() -> None:
    """Each builder and each parser of the tables above has at least one golden document."""
    assert {one.kind for one in REQUESTS} == set(BUILDERS)
    assert {one.kind for one in RESPONSES} == set(PARSERS)


def test_every_golden_file_stands_in_the_index() -> None:
    """No file below tests/golden is left out of documents.py."""
    from tests.golden import documents

    here = documents._HERE
    files = {str(path.relative_to(here)) for path in here.rglob("*.xml")}
    assert files == {one.file for one in (*REQUESTS, *RESPONSES)}
