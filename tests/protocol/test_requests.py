"""What each builder puts on the request line, and what it refuses to send."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from urllib.parse import unquote, unquote_to_bytes
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ds3tool.errors import UsageError
from ds3tool.protocol import names, object_requests, requests, tape_requests, targets, xmlcodec
from ds3tool.protocol.messages import Request
from ds3tool.protocol.model import (
    ChecksumType,
    ObjectToGet,
    ObjectToPut,
    Priority,
    ProcessingOrder,
    TapeState,
    Versioning,
)
from ds3tool.protocol.object_columns import GetColumns, PutColumns
from ds3tool.protocol.ranges import ByteRange

PUT = (ObjectToPut("k", 1),)
GET = (ObjectToGet("k"),)
POLICY_ID = "0f3b9a66"

LINES: list[tuple[Request, str]] = [
    (requests.get_service(), "GET /"),
    (requests.create_bucket("b"), "PUT /b"),
    (requests.create_bucket("b", data_policy="two copies"), "POST /_rest_/bucket?name=b&data_policy_id=two%20copies"),
    (requests.head_bucket("b"), "HEAD /b"),
    (requests.delete_bucket("b"), "DELETE /b"),
    (requests.delete_bucket("b", force=True), "DELETE /_rest_/bucket/b?force"),
    (requests.list_bucket("b"), "GET /b?max_keys=1000"),
    (
        requests.list_bucket("b", prefix="a b/", delimiter="/", marker="a b/ü+", max_keys=7, versions=True),
        "GET /b?delimiter=%2F&marker=a%20b%2F%C3%BC%2B&max_keys=7&prefix=a%20b%2F&versions",
    ),
    (requests.get_bucket("b"), "GET /_rest_/bucket/b"),
    (requests.get_data_policy("two copies"), "GET /_rest_/data_policy/two%20copies"),
    (requests.get_data_policy("a/b"), "GET /_rest_/data_policy/a%2Fb"),
    (requests.list_data_policies(), "GET /_rest_/data_policy?page_length=1000&page_offset=0"),
    (
        requests.modify_data_policy(
            "p",
            checksum_type=ChecksumType.CRC_32C,
            versioning=Versioning.KEEP_LATEST,
            end_to_end_crc_required=False,
            blobbing_enabled=True,
            default_blob_size=1 << 30,
            default_put_priority=Priority.LOW,
            max_versions_to_keep=3,
        ),
        (
            "PUT /_rest_/data_policy/p?blobbing_enabled=true&checksum_type=CRC_32C&default_blob_size=1073741824"
            "&default_put_job_priority=LOW&end_to_end_crc_required=false&max_versions_to_keep=3&versioning=KEEP_LATEST"
        ),
    ),
    (requests.modify_data_policy("p", default_blob_size=0), "PUT /_rest_/data_policy/p?default_blob_size="),
    (
        requests.list_persistence_rules(POLICY_ID, page_offset=1000),
        "GET /_rest_/data_persistence_rule?data_policy_id=0f3b9a66&page_length=1000&page_offset=1000",
    ),
    (requests.put_object("b", "k"), "PUT /b/k"),
    (requests.put_object("b", "k", job_id="j", offset=0), "PUT /b/k?job=j&offset=0"),
    (requests.get_object("b", "k"), "GET /b/k"),
    (
        requests.get_object("b", "k", job_id="j", offset=10, version_id="v"),
        "GET /b/k?job=j&offset=10&version_id=v",
    ),
    (requests.head_object("b", "k", version_id="v"), "HEAD /b/k?version_id=v"),
    (requests.head_object("b", "k", version_id=None), "HEAD /b/k"),
    (requests.delete_object("b", "dir/"), "DELETE /b/dir/"),
    (requests.delete_object("b", "k", version_id="v"), "DELETE /b/k?version_id=v"),
    (requests.delete_objects("b", [("k", None)]), "POST /b?delete"),
    (requests.delete_folder("b", "a b/c"), "DELETE /_rest_/folder/a%20b/c?bucket_id=b&recursive"),
    (requests.delete_folder("b", "a/"), "DELETE /_rest_/folder/a?bucket_id=b&recursive"),
    (requests.create_put_job("b", PUT), "PUT /_rest_/bucket/b?operation=start_bulk_put"),
    (
        requests.create_put_job(
            "b",
            PUT,
            name="n & m",
            priority=Priority.URGENT,
            max_upload_size=10485760,
            ignore_naming_conflicts=True,
            force=True,
            aggregating=False,
            minimize_spanning_across_media=True,
            pre_allocate_job_space=True,
            verify_after_write=True,
            implicit_job_id_resolution=False,
            dead_job_cleanup_allowed=False,
            protected=True,
        ),
        (
            "PUT /_rest_/bucket/b?operation=start_bulk_put&aggregating=false&dead_job_cleanup_allowed=false&force"
            "&ignore_naming_conflicts&implicit_job_id_resolution=false&max_upload_size=10485760"
            "&minimize_spanning_across_media=true&name=n%20%26%20m&pre_allocate_job_space&priority=URGENT"
            "&protected=true&verify_after_write=true"
        ),
    ),
    (
        requests.create_get_job("b", GET),
        "PUT /_rest_/bucket/b?operation=start_bulk_get&chunk_client_processing_order_guarantee=NONE",
    ),
    (
        requests.create_get_job(
            "b",
            GET,
            name="n",
            priority=Priority.HIGH,
            processing_order=ProcessingOrder.IN_ORDER,
            aggregating=True,
            implicit_job_id_resolution=True,
            dead_job_cleanup_allowed=True,
            protected=False,
        ),
        (
            "PUT /_rest_/bucket/b?operation=start_bulk_get&aggregating=true"
            "&chunk_client_processing_order_guarantee=IN_ORDER&dead_job_cleanup_allowed=true"
            "&implicit_job_id_resolution=true&name=n&priority=HIGH&protected=false"
        ),
    ),
    (
        requests.create_verify_job("b", GET, name="n", priority=Priority.LOW, aggregating=False),
        "PUT /_rest_/bucket/b?operation=start_bulk_verify&aggregating=false&name=n&priority=LOW",
    ),
    (requests.get_placement("b", GET), "PUT /_rest_/bucket/b?operation=get_physical_placement"),
    (
        requests.get_placement("b", GET, full_details=True, storage_domain="vault"),
        "PUT /_rest_/bucket/b?operation=get_physical_placement&full_details&storage_domain=vault",
    ),
    (
        requests.get_placement("b", GET, verify=True),
        "GET /_rest_/bucket/b?operation=verify_physical_placement",
    ),
    (requests.get_ready_chunks("j"), "GET /_rest_/job_chunk?job=j"),
    (
        requests.get_ready_chunks("j", preferred_number=3, chunk_id="c"),
        "GET /_rest_/job_chunk?job=j&job_chunk=c&preferred_number_of_chunks=3",
    ),
    (requests.get_chunk("c"), "GET /_rest_/job_chunk/c"),
    (requests.allocate_chunk("c"), "PUT /_rest_/job_chunk/c?operation=allocate"),
    (requests.get_job("j"), "GET /_rest_/job/j"),
    (requests.list_jobs(), "GET /_rest_/job"),
    (requests.list_jobs(bucket="b"), "GET /_rest_/job?bucket_id=b"),
    (requests.modify_job("j"), "PUT /_rest_/job/j"),
    (requests.modify_job("j", priority=Priority.LOW, name="n"), "PUT /_rest_/job/j?name=n&priority=LOW"),
    (requests.cancel_job("j"), "DELETE /_rest_/job/j?force"),
    (requests.truncate_job("j"), "DELETE /_rest_/job/j"),
    (
        requests.list_job_records("canceled_job", bucket="b", page_length=5000, page_offset=3),
        "GET /_rest_/canceled_job?bucket_id=b&page_length=1000&page_offset=3",
    ),
    (
        object_requests.list_object_details("b"),
        "GET /_rest_/object?bucket_id=b&page_length=1000&page_offset=0",
    ),
    (
        object_requests.list_object_details("b", name="2025/%", placement=True, latest=True),
        (
            "GET /_rest_/object?bucket_id=b&full_details&include_physical_placement&latest=true&name=2025%2F%25"
            "&page_length=1000&page_offset=0"
        ),
    ),
    (object_requests.get_object_details("b", "a b/c"), "GET /_rest_/object/a%20b/c?bucket_id=b"),
    (object_requests.undelete_object("b", "a b"), "PUT /_rest_/object?bucket_id=b&name=a%20b"),
    (
        object_requests.undelete_object("b", "k", version_id="v"),
        "PUT /_rest_/object?bucket_id=b&name=k&version_id=v",
    ),
    (object_requests.list_suspect_blobs("b"), "GET /_rest_/suspect_object?bucket_id=b&full_details"),
    (tape_requests.list_tapes(), "GET /_rest_/tape?page_length=1000&page_offset=0"),
    (
        tape_requests.list_tapes(
            bar_code="X1",
            state=TapeState.EJECTED,
            bucket="b",
            storage_domain="vault",
            tape_type="LTO8",
            assigned_to_storage_domain=True,
            full_of_data=False,
        ),
        (
            "GET /_rest_/tape?assigned_to_storage_domain=true&bar_code=X1&bucket_id=b&full_of_data=false"
            "&state=EJECTED&storage_domain=vault&type=LTO8&page_length=1000&page_offset=0"
        ),
    ),
    (tape_requests.get_tape("X1"), "GET /_rest_/tape/X1"),
    (
        tape_requests.eject_tape("X1", label="vault & co", location="shelf 4"),
        "PUT /_rest_/tape/X1?operation=eject&eject_label=vault%20%26%20co&eject_location=shelf%204",
    ),
    (tape_requests.eject_all_tapes(), "PUT /_rest_/tape?operation=eject"),
    (
        tape_requests.eject_all_tapes(storage_domain="vault", bucket="b"),
        "PUT /_rest_/tape?operation=eject&bucket_id=b&storage_domain=vault",
    ),
    (tape_requests.tape_operation(names.CANCEL_EJECT, "X1"), "PUT /_rest_/tape/X1?operation=cancel_eject"),
    (tape_requests.tape_operation(names.ONLINE, "X1"), "PUT /_rest_/tape/X1?operation=online"),
    (tape_requests.tape_operation(names.ONLINE), "PUT /_rest_/tape?operation=online"),
    (requests.get_cache_state(), "GET /_rest_/cache_state"),
    (requests.reclaim_cache(), "PUT /_rest_/cache_filesystem?reclaim"),
    (requests.get_system_information(), "GET /_rest_/system_information"),
    (requests.get_system_health(), "GET /_rest_/system_health"),
]


@pytest.mark.parametrize(("request_", "line"), LINES, ids=[line for _, line in LINES])
def test_the_request_line(request_: Request, line: str) -> None:
    """Each call has the method, path and query that the protocol reference gives it."""
    assert f"{request_.method} {request_.target}" == line


def test_what_may_not_be_sent_twice_says_so() -> None:
    """Creating a bucket or a job, and a put outside a job, are not idempotent; everything else is."""
    creating = ("operation=start_bulk", "POST /_rest_/bucket?", "PUT /b")
    for request, line in LINES:
        twice = not any(line.startswith(word) or word in line for word in creating) or "job=" in line
        assert request.idempotent == twice, line


def test_a_blob_carries_its_checksum_and_metadata() -> None:
    """A put names the digest in the header of its kind, tells it to the signature, and sends metadata encoded."""
    request = requests.put_object(
        "b", "k", job_id="j", offset=7, metadata={"Mode": "0644", "who": "Zoë, A"}, checksum=(ChecksumType.CRC_32, "x=")
    )
    assert request.headers == (
        ("x-amz-meta-mode", "0644"),
        ("x-amz-meta-who", "Zo%C3%AB%2C%20A"),
        ("Content-CRC32", "x="),
    )
    assert request.checksum == "x="


def test_ranges_are_asked_for_in_a_header() -> None:
    """Ranges travel in one Range header, whose ends are inclusive; without ranges there is none."""
    request = requests.get_object("b", "k", ranges=[ByteRange(0, 5), ByteRange(10, 11)])
    assert request.headers == (("Range", "bytes=0-4,10-10"),)
    assert requests.get_object("b", "k").headers == ()


KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(KEYS)
@example("a%20b")
@example("a+b;c?d#e&f=g")
@example("/lead//in/../g/./")
@example("K\u00fcste/Ku\u0308ste")
@example("line\nbreak\0")
def test_any_key_comes_back_from_its_path(key: str) -> None:
    """A key's path is plain ASCII without a blank, question mark or hash, and decodes once to exactly the key."""
    path = targets.object_path("b", key)
    assert path.isascii()
    assert not set(path) & set(" ?#+;&=\"'\\\r\n")
    assert path.startswith("/b/")
    assert unquote(path.removeprefix("/b/"), errors="strict") == key
    assert unquote_to_bytes(path).count(b"/") == path.count("/")


XML_KEYS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff", include_characters="\t\n\r"),
    min_size=1,
)


@given(st.lists(XML_KEYS, min_size=1, max_size=5))
@example(["\r\n\t", "]]>", "&amp;", "<!--", "'\"", "\u0085\u2028\x7f"])
def test_any_key_comes_back_from_a_document(keys: list[str]) -> None:
    """Keys in bodies, read by another XML reader, are exactly the keys: line ends and tabs included."""
    request = requests.create_put_job("b", [ObjectToPut(key, 1) for key in keys])
    assert isinstance(request.body, bytes)
    assert [one.get("Name") for one in ET.fromstring(request.body)] == keys
    request = requests.create_get_job("b", [ObjectToGet(key, version_id=key) for key in keys])
    assert isinstance(request.body, bytes)
    assert [(one.get("Name"), one.get("VersionId")) for one in ET.fromstring(request.body)] == [(k, k) for k in keys]
    request = requests.delete_objects("b", [(key, None) for key in keys])
    assert isinstance(request.body, bytes)
    assert [one.text for one in ET.fromstring(request.body).iter("Key")] == keys


@pytest.mark.parametrize("count", [2, 3000])
def test_a_get_job_of_columns_names_the_versions(count: int) -> None:
    """The version of the one object that has one stands in the document, of one block or of several."""
    columns = GetColumns([f"k{number}" for number in range(count)], {1: "an-old-one"})
    body = requests.create_get_job("b", columns).body
    document = body if isinstance(body, bytes) else b"".join(iter(body))
    named = [(one.get("Name"), one.get("VersionId")) for one in ET.fromstring(document)]
    assert named == [(f"k{number}", "an-old-one" if number == 1 else None) for number in range(count)]


@pytest.mark.parametrize("odd", ["", "ü", "a&b"])
@pytest.mark.parametrize("size", [7, 10**12])
def test_a_job_of_columns_declares_each_object_with_its_size(odd: str, size: int) -> None:
    """Of one size or of many, in one block or in several: what is declared is there, and as long as it says."""
    keys = [f"k{odd}{number}" for number in range(5000)]
    sizes = array("Q", [7] * 4500 + [size] * 500)
    body = requests.create_put_job("b", PutColumns(keys, sizes)).body
    assert isinstance(body, xmlcodec.ItemsBody)
    document = b"".join(body)
    assert len(document) == body.length
    declared = [(one.get("Name"), int(one.get("Size", ""))) for one in ET.fromstring(document)]
    assert declared == list(zip(keys, sizes, strict=True))
    body = requests.create_get_job("b", GetColumns(keys, {})).body
    assert isinstance(body, xmlcodec.ItemsBody)
    document = b"".join(body)
    assert len(document) == body.length
    assert [one.get("Name") for one in ET.fromstring(document)] == keys


@pytest.mark.parametrize("bad", ["\0", "\x01", "\x0b", "\x1f", "\ufffe", "\uffff", "\ud800"])
@pytest.mark.parametrize(
    "build",
    [
        lambda key: requests.create_put_job("b", [ObjectToPut(key, 1)]),
        lambda key: requests.create_get_job("b", [ObjectToGet(key)]),
        lambda key: requests.create_verify_job("b", [ObjectToGet(key)]),
        lambda key: requests.get_placement("b", [ObjectToGet(key)]),
        lambda key: requests.delete_objects("b", [(key, None)]),
        lambda key: requests.create_get_job("b", [ObjectToGet("fine", version_id=key)]),
    ],
)
def test_what_xml_cannot_carry_is_refused_by_name(build: Callable[[str], Request], bad: str) -> None:
    """A key with a character that XML 1.0 forbids is a UsageError that shows the key, escaped."""
    with pytest.raises(UsageError, match=f"U\\+{ord(bad):04X}") as caught:
        build(f"a{bad}b")
    assert ascii(f"a{bad}b") in caught.value.message


@given(st.text(st.characters(), max_size=5))
def test_what_fits_into_xml_is_what_is_not_refused(text: str) -> None:
    """The question whether a key fits has the same answer as the attempt to send it."""
    try:
        escaped = xmlcodec.attribute(text)
    except UsageError:
        assert not xmlcodec.fits(text)
    else:
        assert xmlcodec.fits(text)
        assert ET.fromstring(f'<a b="{escaped}"/>'.encode()).get("b") == text


@pytest.mark.parametrize(
    "build",
    [
        lambda: targets.object_path("b", "\ud800"),
        lambda: targets.bucket_path("\udc80"),
        lambda: requests.list_bucket("b", prefix="\ud800"),
        lambda: requests.list_bucket("b", marker="\ud800"),
        lambda: requests.create_put_job("b", PUT, name="\ud800"),
        lambda: requests.delete_folder("b", "a\ud800"),
    ],
)
def test_half_a_surrogate_pair_is_refused(build: Callable[[], object]) -> None:
    """Text that UTF-8 cannot express is a UsageError wherever it stands, not a crash."""
    with pytest.raises(UsageError, match="UTF-8"):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: requests.delete_object("b", ""),
        lambda: requests.delete_object("", "k"),
        lambda: requests.put_object("b", ""),
        lambda: requests.delete_bucket(""),
        lambda: requests.delete_bucket("", force=True),
        lambda: requests.delete_bucket("_rest_"),
        lambda: requests.cancel_job(""),
        lambda: requests.truncate_job(""),
        lambda: requests.truncate_job("."),
        lambda: requests.cancel_job(".."),
        lambda: requests.get_ready_chunks(""),
        lambda: object_requests.undelete_object("b", ""),
        lambda: object_requests.undelete_object("", "k"),
        lambda: object_requests.list_suspect_blobs(""),
        lambda: tape_requests.eject_tape(""),
        lambda: tape_requests.tape_operation(names.CANCEL_EJECT, ""),
        lambda: tape_requests.eject_all_tapes(bucket="b"),
        lambda: requests.delete_folder("b", ""),
        lambda: requests.delete_folder("b", "/"),
        lambda: requests.delete_folder("b", "a//"),
        lambda: requests.delete_folder("b", "../job"),
        lambda: requests.delete_folder("", "a"),
        lambda: requests.delete_objects("b", [("a", None), ("", None)]),
        lambda: requests.delete_objects("b", []),
        lambda: requests.delete_objects("b", [("a", None)] * 1001),
        lambda: object_requests.get_object_details("b", ""),
    ],
)
def test_what_would_reach_further_than_was_meant_is_refused(build: Callable[[], object]) -> None:
    """An empty name would address the bucket, all jobs or all tapes instead: nothing of it is built."""
    with pytest.raises(UsageError):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: requests.list_bucket("b", max_keys=0),
        lambda: requests.list_bucket("b", max_keys=1001),
        lambda: requests.put_object("b", "k", job_id="j", offset=-1),
        lambda: requests.get_object("b", "k", offset=-1),
        lambda: requests.create_put_job("b", [ObjectToPut("k", -1)]),
        lambda: requests.create_put_job("b", [ObjectToPut("k", 2**63)]),
        lambda: requests.get_ready_chunks("j", preferred_number=0),
        lambda: tape_requests.list_tapes(page_offset=-1),
        lambda: requests.put_object("b", "k", checksum=(ChecksumType("BLAKE_9"), "x")),
    ],
)
def test_numbers_and_kinds_that_cannot_be_are_refused(build: Callable[[], object]) -> None:
    """Negative offsets and sizes, pages out of bounds and unknown checksum types are UsageErrors."""
    with pytest.raises(UsageError):
        build()


@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_version_id_is_not_the_latest_version(blank: str) -> None:
    """Whoever deletes, reads or brings back a version by an id that is empty gets an error instead of the latest."""
    for build in (requests.head_object, requests.delete_object, object_requests.undelete_object):
        with pytest.raises(UsageError, match="version id is empty"):
            build("b", "k", version_id=blank)
