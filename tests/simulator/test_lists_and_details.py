"""The resources below `/_rest_/`: pages, filters, names or ids, details, what is refused."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

import pytest

from ds3tool.simulator import ManualClock
from ds3tool.simulator.dispatch import served
from tests.simulator.conftest import Bench, Build

_LISTS = [
    *("user", "bucket", "data_policy", "data_persistence_rule", "storage_domain", "storage_domain_member"),
    *("tape", "tape_drive", "tape_partition", "tape_library", "tape_failure", "object", "node", "cache_filesystem"),
    *("active_job", "completed_job", "canceled_job", "job_creation_failed"),
]


@pytest.mark.parametrize("resource", _LISTS)
def test_every_list_is_paged(bench: Bench, resource: str) -> None:
    """Both headers, in lower case, as numbers; a page beyond the end is empty."""
    whole = bench.wire.ask("GET", f"/_rest_/{resource}/")
    assert (whole.status, whole.xml.tag) == (200, "Data")
    total = int(whole.headers["total-result-count"])
    assert (len(whole.xml), whole.headers["page-truncated"]) == (total, "0")
    beyond = bench.wire.ask("GET", f"/_rest_/{resource}?page_offset={total}&page_length=1")
    assert (len(beyond.xml), beyond.headers["page-truncated"]) == (0, "0")


def test_tapes_are_walked_page_by_page(bench: Bench) -> None:
    """By offset, by marker, from the end; marker and offset together are refused."""
    wire = bench.wire
    codes = [each.findtext("BarCode") for each in wire.ask("GET", "/_rest_/tape").xml]
    assert codes == [f"SIM{number:03d}L8" for number in range(1, 11)]
    page = wire.ask("GET", "/_rest_/tape?page_length=4&page_offset=4")
    assert [each.findtext("BarCode") for each in page.xml] == codes[4:8]
    assert page.headers["page-truncated"] == "2"
    marker = page.xml[3].findtext("Id")
    rest = wire.ask("GET", f"/_rest_/tape?page_start_marker={marker}").xml
    assert [each.findtext("BarCode") for each in rest] == codes[8:]
    last = wire.ask("GET", "/_rest_/tape?page_length=4&last_page").xml
    assert [each.findtext("BarCode") for each in last] == codes[8:]
    assert wire.ask("GET", f"/_rest_/tape?page_start_marker={marker}&page_offset=1").status == 400
    assert wire.ask("GET", f"/_rest_/tape?page_start_marker={uuid.uuid4()}").status == 410


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["a", "b.txt", "dir/", "dir/x"]),
        ("name=a", ["a"]),
        ("name=dir%25", ["dir/", "dir/x"]),
        ("name=*x*", ["b.txt", "dir/x"]),
        ("type=folder", ["dir/"]),
        ("type=DATA&name=dir*", ["dir/x"]),
        ("latest=True&page_length=1&page_offset=1", ["b.txt"]),
        ("latest=false", []),
    ],
)
def test_objects_are_listed_by_filter(bench: Bench, query: str, names: list[str]) -> None:
    """Name with wild cards, type, latest, page."""
    bench.wire.put_all("b", {"a": b"1", "b.txt": b"2", "dir/": b"", "dir/x": b"3"})
    found = bench.wire.ask("GET", f"/_rest_/object?bucket_id=b&{query}").xml
    assert [each.findtext("Name") for each in found] == names


@pytest.mark.parametrize("written", ["{:.0f}", "{:.0f}000", "iso"])
def test_objects_are_listed_by_date_however_it_is_written(build: Build, written: str) -> None:
    """Seconds, milliseconds and ISO 8601 name the same moment; what was made on the other side of it is left out."""
    clock = ManualClock()
    bench = build(clock)
    assert bench.wire.ask("PUT", "/b/early", b"1").status == 200
    clock.advance(100.0)
    moment = clock.now()
    clock.advance(100.0)
    assert bench.wire.ask("PUT", "/b/late", b"1").status == 200
    iso = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    text = iso if written == "iso" else written.format(moment)

    def listed(query: str) -> list[str | None]:
        return [name.text for name in bench.wire.ask("GET", f"/_rest_/object?bucket_id=b&{query}").xml.iter("Name")]

    assert (listed(f"start_date={text}"), listed(f"end_date={text}")) == (["late"], ["early"])
    assert bench.wire.ask("GET", "/_rest_/object?start_date=tomorrow").status == 400


def test_one_object_is_found_by_name_or_id(bench: Bench) -> None:
    """With its bucket; a 404 for another."""
    bench.wire.put_all("b", {"dir/a b": b"1"})
    shown = bench.wire.ask("GET", "/_rest_/object/dir/a%20b?bucket_id=b").xml
    assert (shown.findtext("Name"), shown.findtext("Type"), shown.findtext("Latest")) == ("dir/a b", "DATA", "true")
    again = bench.wire.ask("GET", f"/_rest_/object/{shown.findtext('Id')}?bucket_id=b").xml
    assert again.findtext("Name") == "dir/a b"
    assert bench.wire.ask("GET", "/_rest_/object/none?bucket_id=b").status == 404
    assert bench.wire.ask("GET", "/_rest_/object/none").status == 400


def test_full_details_count_blobs_and_name_their_tapes(bench: Bench) -> None:
    """Size, ETag, owner, counters; with placement every blob and its tape."""
    bench.wire.put_all("b", {"a": b"x" * 1500})
    bench.until_persisted()
    shown = bench.wire.ask("GET", "/_rest_/object?full_details&include_physical_placement&bucket_id=b").xml
    (each,) = shown.findall("Object")
    assert [each.findtext(name) for name in ("Size", "BlobsTotal", "BlobsInCache", "BlobsBeingPersisted", "Owner")] == [
        *("1500", "2", "2", "0"),
        "Administrator",
    ]
    assert (each.findtext("ETag") or "").endswith("-2")
    assert [blob.get("Offset") for blob in each.findall("Blobs/Object")] == ["0", "1000"]
    assert each.findtext("Blobs/Object/PhysicalPlacement/Tapes/Tape/BarCode") == "SIM001L8"


def test_placement_tells_of_each_name_and_passes_over_unknown_ones(bench: Bench) -> None:
    """The plain form, the detailed form, and the one that fails."""
    wire = bench.wire
    wire.put_all("b", {"a": b"x" * 1500, "c": b"y"})
    bench.until_persisted()
    both = '<Object Name="a"/><Object Name="none"/>'
    plain = wire.bulk("get_physical_placement", "b", both).xml
    assert [each.tag for each in plain] == ["AzureTargets", "Ds3Targets", "Pools", "S3Targets", "Tapes"]
    assert [tape.findtext("BarCode") for tape in plain.iter("Tape")] == ["SIM001L8"]
    detailed = wire.bulk("get_physical_placement", "b", both, "&full_details").xml
    assert [(each.get("Name"), each.get("Offset")) for each in detailed] == [("a", "0"), ("a", "1000")]
    part = wire.bulk("get_physical_placement", "b", '<Object Name="a" Offset="1000" Length="1"/>', "&full_details").xml
    assert [each.get("Offset") for each in part] == ["1000"]
    none = wire.bulk("get_physical_placement", "b", '<Object Name="none"/>').xml
    assert [len(each) for each in none] == [0] * 5
    target = "/_rest_/bucket/b?operation=verify_physical_placement"
    assert wire.ask("GET", target, f"<Objects>{both}</Objects>".encode()).status == 404
    assert wire.ask("GET", target, b'<Objects><Object Name="a"/></Objects>').status == 200


def test_buckets_are_made_changed_and_removed(bench: Bench) -> None:
    """Under both families of requests, by name or id, with the conflicts in between."""
    wire = bench.wire
    made = wire.ask("POST", "/_rest_/bucket?name=New.bucket_1")
    assert made.status == 201
    identifier = made.xml.findtext("Id")
    assert wire.ask("GET", f"/_rest_/bucket/{identifier}").xml.findtext("Name") == "New.bucket_1"
    assert wire.ask("GET", "/_rest_/bucket/New.bucket_1").xml.findtext("Empty") == "true"
    assert wire.ask("PUT", "/New.bucket_1").status == 409
    assert wire.ask("PUT", "/bad:bucket").status == 400
    assert wire.ask("PUT", "/" + "x" * 64).status == 400
    wire.put_all("New.bucket_1", {"a": b"12345"})
    shown = wire.ask("GET", "/_rest_/bucket/New.bucket_1").xml
    assert (shown.findtext("LogicalUsedCapacity"), shown.findtext("Empty")) == ("5", "false")
    assert wire.ask("DELETE", "/New.bucket_1").status == 409
    assert wire.ask("DELETE", "/_rest_/bucket/New.bucket_1").status == 409
    bench.until_persisted()
    assert wire.ask("DELETE", "/_rest_/bucket/New.bucket_1?force").status == 204
    assert [wire.ask(verb, "/New.bucket_1").status for verb in ("HEAD", "DELETE", "GET")] == [404, 404, 404]
    bench.reclaim()
    assert bench.cache_used == 0
    assert [each.text for each in wire.ask("GET", "/").xml.iter("Name")] == ["b"]


def test_a_folder_is_deleted_with_all_below(bench: Bench) -> None:
    """And nothing beside it."""
    bench.wire.put_all("b", {"a/": b"", "a/x": b"1", "a/b/y": b"2", "ab": b"3"})
    assert bench.wire.ask("DELETE", "/_rest_/folder/a/b?bucket_id=b&recursive").status == 204
    assert bench.wire.ask("DELETE", "/_rest_/folder/a/?bucket_id=b&recursive=").status == 204
    assert bench.wire.ask("DELETE", "/_rest_/folder/a?bucket_id=b&recursive").status == 404
    assert [key.text for key in bench.wire.ask("GET", "/b").xml.iter("Key")] == ["ab"]
    assert bench.wire.ask("DELETE", "/_rest_/folder/a?bucket_id=&recursive").status == 500


def test_several_objects_are_deleted_and_unknown_ones_told(bench: Bench) -> None:
    """Quiet leaves the successes out; more than 1000 keys are refused."""
    wire = bench.wire
    wire.put_all("b", {"a": b"1", "c": b"2"})
    body = "<Delete><Quiet>{}</Quiet><Object><Key>{}</Key></Object><Object><Key>none</Key></Object></Delete>"
    loud = wire.ask("POST", "/b?delete", body.format("false", "a").encode()).xml
    assert [each.text for each in loud.iterfind("Deleted/Key")] == ["a"]
    assert [(each.findtext("Code"), each.findtext("Key")) for each in loud.iter("Error")] == [
        ("ObjectNotFound", "none")
    ]
    quiet = wire.ask("POST", "/b?delete=", body.format("true", "c").encode()).xml
    assert (quiet.find("Deleted"), len(quiet.findall("Error"))) == (None, 1)
    many = "<Delete>" + "<Object><Key>k</Key></Object>" * 1001 + "</Delete>"
    assert wire.ask("POST", "/b?delete", many.encode()).status == 400


def test_a_policy_and_a_user_are_made_and_used(bench: Bench) -> None:
    """A second user signs with an own key; a policy without a rule takes no job."""
    from tests.simulator.wire import Wire

    wire = bench.wire
    user = wire.ask("POST", "/_rest_/user?name=mira").xml
    mira = Wire(bench.appliance.endpoint, user.findtext("AuthId") or "", user.findtext("SecretKey") or "")
    assert mira.ask("GET", "/").xml.findtext("Owner/DisplayName") == "mira"
    assert mira.ask("PUT", "/hers").status == 400, "no default data policy"
    policy = wire.ask("POST", "/_rest_/data_policy?name=nothing&checksum_type=crc_32c").xml
    assert policy.findtext("ChecksumType") == "CRC_32C"
    assert wire.ask("PUT", "/_rest_/user/mira?default_data_policy_id=nothing").status == 200
    assert mira.ask("PUT", "/hers").status == 200
    assert mira.start_put("hers", {"a": 1}).status == 400
    domain = wire.ask("GET", "/_rest_/storage_domain").xml.findtext("StorageDomain/Id")
    rule = f"data_policy_id=nothing&storage_domain_id={domain}&type=PERMANENT&isolation_level=STANDARD"
    assert wire.ask("POST", f"/_rest_/data_persistence_rule?{rule}").status == 201
    assert mira.put_all("hers", {"a": b"x"})
    assert wire.ask("DELETE", "/_rest_/user/mira").status == 409
    mira.close()


def test_new_jobs_can_be_forbidden(bench: Bench) -> None:
    """503 until they are allowed again."""
    assert bench.wire.ask("PUT", "/_rest_/data_path_backend?allow_new_job_requests=False").status == 200
    assert bench.wire.start_put("b", {"a": 1}).status == 503
    bench.wire.ask("PUT", "/_rest_/data_path_backend?allow_new_job_requests=true")
    assert bench.wire.start_put("b", {"a": 1}).status == 200


@pytest.mark.parametrize(
    ("verb", "target", "status", "code"),
    [
        ("GET", "/_rest_/nothing", 404, "NotFound"),
        ("POST", "/_rest_/tape", 405, "MethodNotAllowed"),
        ("PUT", "/_rest_/bucket/b?operation=explode", 400, "InvalidArgument"),
        ("GET", "/_rest_/job_chunk", 400, "InvalidArgument"),
        ("GET", "/_rest_/job/none", 404, "NotFound"),
        ("GET", "/_rest_/tape/none", 404, "NotFound"),
        ("GET", "/_rest_/tape?page_length=x", 400, "InvalidArgument"),
        ("GET", "/b?acl", 501, "NotImplemented"),
        ("GET", "/b?list-type=2", 501, "NotImplemented"),
        ("POST", "/b/x?restore", 501, "NotImplemented"),
        ("POST", "/b", 405, "MethodNotAllowed"),
        ("DELETE", "/", 400, "InvalidBucketName"),
        ("GET", "/b/none", 404, "NoSuchKey"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_its_kind(
    bench: Bench, verb: str, target: str, status: int, code: str
) -> None:
    """A status, a code, a message that begins with both, the path, and a number."""
    reply = bench.wire.ask(verb, target)
    assert (reply.status, reply.code) == (status, code)
    assert reply.xml.findtext("HttpErrorCode") == str(status)
    assert reply.message.startswith(f"{code}[{status}]: ")
    assert reply.xml.findtext("Resource") == target.partition("?")[0]
    assert (reply.xml.findtext("ResourceId") or "").isdigit()


def test_everything_told_is_in_alphabetical_order(bench: Bench) -> None:
    """Elements of every bean and attributes of every list, as the appliance writes them."""
    bench.wire.put_all("b", {"a": b"x" * 1500})
    bench.until_persisted()
    job = bench.wire.start_get("b", ["a"]).xml.attrib["JobId"]
    targets = [
        *(f"/_rest_/{resource}" for resource in _LISTS),
        *("/", "/b", "/b?versions", "/b?delimiter=/", "/_rest_/job", f"/_rest_/job/{job}", "/_rest_/cache_state"),
        *("/_rest_/object?full_details&include_physical_placement", "/_rest_/tape_partition?full_details"),
        *("/_rest_/capacity_summary", "/_rest_/data_path_backend", "/_rest_/system_information", "/_rest_/bucket/b"),
    ]
    for target in targets:
        answer = bench.wire.ask("GET", target)
        assert answer.status == 200, target
        for each in _all(answer.xml):
            assert list(each.attrib) == sorted(each.attrib), target
            tags = [child.tag for child in each]
            assert tags == sorted(tags), (target, tags)


def _all(root: Element) -> Iterator[Element]:
    return root.iter()


def test_each_operation_has_one_handler() -> None:
    """Whatever is served stands in the contract's table, once in each style."""
    names = [(row.operation.style, row.name) for row in served()]
    assert len(names) == len(set(names))
    assert {("rest", "CreatePutJob"), ("rest", "EjectTape"), ("s3", "PutObject")} <= set(names)
