"""The client: each method sends its call and returns its value; lists are lazy, waits are answers, secrets stay in."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from ds3tool.calls.exchange import Exchange
from ds3tool.client import Ds3Client
from ds3tool.errors import (
    AccessDeniedError,
    ApplianceError,
    BusyError,
    ConfigError,
    NotFoundError,
    ProtocolError,
    UsageError,
)
from ds3tool.protocol import responses
from ds3tool.protocol.messages import Headers, Request, Response
from ds3tool.protocol.model import (
    AllocatedChunk,
    ChecksumType,
    JobDetails,
    ObjectToGet,
    ObjectToPut,
    Priority,
    PutResult,
    TapeState,
)
from ds3tool.protocol.ranges import ByteRange
from ds3tool.transport.bodies import BytesBody, OutgoingBody
from ds3tool.transport.settings import ConnectionSettings
from tests.golden.documents import RESPONSES

T = TypeVar("T")

GOLDEN = {one.file.removeprefix("responses/").removesuffix(".xml"): one for one in RESPONSES}
SECRET = "do-not-show-me"


def reply(name: str = "", status: int = 200, **headers: str) -> Response:
    """Return a reply with a golden document and headers, whose underscores become dashes."""
    pairs = [(key.replace("_", "-"), value) for key, value in headers.items()]
    return Response(status, Headers(pairs), (GOLDEN[name].data,) if name else ())


@dataclass
class RecordingExchange:
    """Answers requests with the replies it was given, in order, and keeps what it was asked."""

    replies: list[Response] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    bodies: list[OutgoingBody | None] = field(default_factory=list)
    retried_busy: list[bool] = field(default_factory=list)

    def exchange(
        self,
        request: Request,
        parse: Callable[[Response], T],
        *,
        body: OutgoingBody | None = None,
        retry_busy: bool = True,
        ask: Callable[[], T | None] | None = None,  # no reply is lost here
        again: Callable[[], Request] | None = None,  # and none breaks off
    ) -> T:
        """Answer with the next reply."""
        self.lines.append(f"{request.method} {request.target}")
        self.requests.append(request)
        self.bodies.append(body)
        self.retried_busy.append(retry_busy)
        response = self.replies.pop(0)
        if not 200 <= response.status < 300:
            raise responses.error(request, response, now=0.0)
        return parse(response)


def made(*replies: Response) -> tuple[Ds3Client, RecordingExchange]:
    """Return a client over an exchange that gives `replies`."""
    exchange = RecordingExchange(list(replies))
    return Ds3Client.over(exchange), exchange


def all_of(found: Iterable[T]) -> tuple[T, ...]:
    """Return what an iterator yields."""
    return tuple(found)


PUT = [ObjectToPut("k", 1)]
GET = [ObjectToGet("k")]

# (call, golden reply, request line)
CALLS: list[tuple[Callable[[Ds3Client], object], str, str]] = [
    (lambda c: c.get_service(), "service", "GET /"),
    (lambda c: c.get_bucket("b"), "bucket", "GET /_rest_/bucket/b"),
    (lambda c: next(c.listing_pages("b")), "listing", "GET /b?max_keys=1000"),
    (lambda c: all_of(c.delete_objects("b", ["2025/readings.bin"]))[0], "delete-result", "POST /b?delete"),
    (lambda c: all_of(c.delete_versions("b", [("2025/readings.bin", "v")]))[0], "delete-result", "POST /b?delete"),
    (lambda c: c.get_data_policy("p"), "data-policy", "GET /_rest_/data_policy/p"),
    (
        lambda c: all_of(c.list_data_policies()),
        "data-policies",
        "GET /_rest_/data_policy?page_length=1000&page_offset=0",
    ),
    (
        lambda c: c.modify_data_policy("p", checksum_type=ChecksumType.MD5),
        "data-policy",
        "PUT /_rest_/data_policy/p?checksum_type=MD5",
    ),
    (
        lambda c: all_of(c.list_persistence_rules("p")),
        "persistence-rules",
        "GET /_rest_/data_persistence_rule?data_policy_id=p&page_length=1000&page_offset=0",
    ),
    (
        lambda c: c.create_put_job("b", PUT, priority=Priority.LOW),
        "job-put",
        "PUT /_rest_/bucket/b?operation=start_bulk_put&priority=LOW",
    ),
    (
        lambda c: c.create_get_job("b", GET),
        "job-get",
        "PUT /_rest_/bucket/b?operation=start_bulk_get&chunk_client_processing_order_guarantee=NONE",
    ),
    (lambda c: c.create_verify_job("b", GET), "job-verify", "PUT /_rest_/bucket/b?operation=start_bulk_verify"),
    (lambda c: c.get_chunk("c"), "chunk-unallocated", "GET /_rest_/job_chunk/c"),
    (lambda c: c.get_job("j"), "job-completed", "GET /_rest_/job/j"),
    (lambda c: c.list_jobs(bucket="b"), "jobs", "GET /_rest_/job?bucket_id=b"),
    (lambda c: c.modify_job("j", name="n"), "job-put", "PUT /_rest_/job/j?name=n"),
    (
        lambda c: all_of(c.list_active_jobs()),
        "active-jobs",
        "GET /_rest_/active_job?page_length=1000&page_offset=0",
    ),
    (
        lambda c: all_of(c.list_completed_jobs(bucket="b")),
        "completed-jobs",
        "GET /_rest_/completed_job?bucket_id=b&page_length=1000&page_offset=0",
    ),
    (
        lambda c: all_of(c.list_canceled_jobs()),
        "canceled-jobs",
        "GET /_rest_/canceled_job?page_length=1000&page_offset=0",
    ),
    (lambda c: c.get_placement("b", GET), "placement", "PUT /_rest_/bucket/b?operation=get_physical_placement"),
    (
        lambda c: c.get_blob_placement("b", GET),
        "placement-blobs",
        "PUT /_rest_/bucket/b?operation=get_physical_placement&full_details",
    ),
    (
        lambda c: all_of(c.list_object_details("b", full=True)),
        "objects-full",
        "GET /_rest_/object?bucket_id=b&full_details&page_length=1000&page_offset=0",
    ),
    (lambda c: c.get_object_details("b", "k"), "object", "GET /_rest_/object/k?bucket_id=b"),
    (
        lambda c: c.undelete_object("b", "k", version_id="v"),
        "object",
        "PUT /_rest_/object?bucket_id=b&name=k&version_id=v",
    ),
    (
        lambda c: c.list_suspect_blobs("b"),
        "placement-blobs",
        "GET /_rest_/suspect_object?bucket_id=b&full_details",
    ),
    (
        lambda c: all_of(c.list_tapes(state=TapeState.NORMAL)),
        "tapes",
        "GET /_rest_/tape?state=NORMAL&page_length=1000&page_offset=0",
    ),
    (lambda c: c.get_tape("X"), "tape", "GET /_rest_/tape/X"),
    (lambda c: c.eject_tape("X", label="l"), "tape-ejected", "PUT /_rest_/tape/X?operation=eject&eject_label=l"),
    (lambda c: c.eject_all_tapes(), "tape-failures", "PUT /_rest_/tape?operation=eject"),
    (
        lambda c: c.eject_storage_domain("s"),
        "tape-failures",
        "PUT /_rest_/tape?operation=eject&storage_domain=s",
    ),
    (lambda c: c.cancel_eject_tape("X"), "tape", "PUT /_rest_/tape/X?operation=cancel_eject"),
    (lambda c: c.online_tape("X"), "tape", "PUT /_rest_/tape/X?operation=online"),
    (lambda c: c.online_all_tapes(), "tape-failures", "PUT /_rest_/tape?operation=online"),
    (lambda c: c.get_cache_state(), "cache-state", "GET /_rest_/cache_state"),
    (lambda c: c.get_system_information(), "system-information", "GET /_rest_/system_information"),
    (lambda c: c.get_system_health(), "system-health", "GET /_rest_/system_health"),
]

# (call, request line) of those that return nothing
SILENT_CALLS: list[tuple[Callable[[Ds3Client], object], str]] = [
    (lambda c: c.create_bucket("b"), "PUT /b"),
    (lambda c: c.create_bucket("b", data_policy="p"), "POST /_rest_/bucket?name=b&data_policy_id=p"),
    (lambda c: c.delete_bucket("b"), "DELETE /b"),
    (lambda c: c.delete_bucket("b", force=True), "DELETE /_rest_/bucket/b?force"),
    (lambda c: c.delete_object("b", "k", version_id="v"), "DELETE /b/k?version_id=v"),
    (lambda c: c.delete_folder("b", "a/"), "DELETE /_rest_/folder/a?bucket_id=b&recursive"),
    (lambda c: c.touch_job("j"), "PUT /_rest_/job/j"),
    (lambda c: c.cancel_job("j"), "DELETE /_rest_/job/j?force"),
    (lambda c: c.truncate_job("j"), "DELETE /_rest_/job/j"),
    (lambda c: c.reclaim_cache(), "PUT /_rest_/cache_filesystem?reclaim"),
]


@pytest.mark.parametrize(("call", "name", "line"), CALLS, ids=[line for _, _, line in CALLS])
def test_a_call_sends_its_request_and_returns_its_value(
    call: Callable[[Ds3Client], object], name: str, line: str
) -> None:
    """Each method sends one request and returns what the golden reply means."""
    client, exchange = made(reply(name))
    assert call(client) == GOLDEN[name].value
    assert exchange.lines == [line]


@pytest.mark.parametrize("name", ["job-put", "job-get", "job-old", "job-completed"])
def test_the_head_of_a_job_is_what_the_job_says_of_itself(name: str) -> None:
    """It comes by the same request, and says the same as the job with its chunks."""
    client, exchange = made(reply(name))
    details = GOLDEN[name].value
    assert isinstance(details, JobDetails)
    assert client.get_job_head("j") == details.job
    assert exchange.lines == ["GET /_rest_/job/j"]


@pytest.mark.parametrize(("call", "line"), SILENT_CALLS, ids=[line for _, line in SILENT_CALLS])
def test_a_silent_call_sends_its_request(call: Callable[[Ds3Client], object], line: str) -> None:
    """Calls whose reply is only a status send one request and return None."""
    client, exchange = made(reply(status=204))
    assert call(client) is None
    assert exchange.lines == [line]


def test_no_call_is_left_untested() -> None:
    """Every public method of the client is called somewhere in this file."""
    source = inspect.getsource(inspect.getmodule(test_no_call_is_left_untested) or object)
    methods = [name for name, _ in inspect.getmembers(Ds3Client, inspect.isfunction) if not name.startswith("_")]
    assert [name for name in methods if f".{name}(" not in source] == []


@pytest.mark.parametrize("call", [call for call, *_ in (*CALLS, *SILENT_CALLS)])
def test_a_refused_call_raises(call: Callable[[Ds3Client], object]) -> None:
    """No method swallows a refusal."""
    client, _ = made(reply("error-no-such-bucket", status=404))
    with pytest.raises(NotFoundError):
        call(client)


# -- objects ----------------------------------------------------------------------------------------------------------


def test_a_blob_is_put_with_its_bytes_beside_the_request() -> None:
    """The body goes to the exchange untouched, the request carries job, offset, metadata and digest."""
    client, exchange = made(reply(ETag='"e"', Content_MD5="XUFAKrxLKna5cZ2REBfFkg=="))
    body = BytesBody(b"hello")
    result = client.put_object(
        "b",
        "k",
        body,
        job_id="j",
        offset=0,
        metadata={"a": "1"},
        checksum=(ChecksumType.MD5, "XUFAKrxLKna5cZ2REBfFkg=="),
    )
    assert result == PutResult("e", ChecksumType.MD5, "XUFAKrxLKna5cZ2REBfFkg==")
    assert exchange.bodies == [body]
    assert exchange.lines == ["PUT /b/k?job=j&offset=0"]
    assert exchange.requests[0].headers == (("x-amz-meta-a", "1"), ("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg=="))


def test_a_blob_is_received_while_the_reply_is_held() -> None:
    """The receiver is handed the reply itself, and its result is the call's."""
    client, exchange = made(Response(206, Headers(), (b"ab", b"c")))
    ranges = [ByteRange(10, 12), ByteRange(20, 21)]
    got = client.get_object("b", "k", lambda response: b"".join(response.body), job_id="j", offset=8, ranges=ranges)
    assert got == b"abc"
    assert exchange.lines == ["GET /b/k?job=j&offset=8"]
    assert exchange.requests[0].headers == (("Range", "bytes=10-11,20-20"),)


def test_the_head_of_an_object_bears_its_key() -> None:
    """The head's key is the one asked for, since no reply repeats it."""
    client, exchange = made(reply(Content_Length="7"))
    head = client.head_object("b", "a/ü", version_id="v")
    assert (head.key, head.size) == ("a/ü", 7)
    assert exchange.lines == ["HEAD /b/a/%C3%BC?version_id=v"]


def test_keys_are_deleted_a_thousand_at_a_time_as_they_are_wanted() -> None:
    """2,001 keys need three requests; none is sent, and no key taken, before its outcome is asked for."""
    taken: list[int] = []

    def keys() -> Iterator[str]:
        for number in range(2001):
            taken.append(number)
            yield f"k{number}"

    client, exchange = made(*(reply("delete-result") for _ in range(3)))
    outcomes = client.delete_objects("b", keys())
    assert (exchange.lines, taken) == ([], [])
    next(outcomes)
    assert (len(exchange.lines), len(taken)) == (1, 1000)
    assert len(list(outcomes)) == 2
    assert [request.body.count(b"<Key>") for request in exchange.requests if isinstance(request.body, bytes)] == [
        1000,
        1000,
        1,
    ]


def test_a_key_of_which_a_deletion_says_nothing_is_no_success() -> None:
    """What the reply leaves out may be there still: it is a failure by name, beside those that the reply tells."""
    client, _ = made(reply("delete-result"))
    (outcome,) = client.delete_objects("b", ["2025/readings.bin", "2024/gone.bin", "left out", "left out"])
    assert [failure.key for failure in outcome.failures] == ["2024/gone.bin", "2024/sealed.bin", "left out"]


# -- buckets and listings ---------------------------------------------------------------------------------------------


def test_a_bucket_is_there_or_not() -> None:
    """200 is True, 404 is False, and 403 is an error: the bucket is there, but not for this user."""
    client, exchange = made(reply(), reply(status=404), reply(status=403))
    assert client.bucket_exists("b") is True
    assert client.bucket_exists("b") is False
    with pytest.raises(AccessDeniedError):
        client.bucket_exists("b")
    assert exchange.lines == ["HEAD /b"] * 3


def test_the_management_port_has_no_missing_buckets() -> None:
    """A 404 of the management port is an error, lest every bucket seem to be missing."""
    client, _ = made(reply(status=404, Spectra_Data_Path_Request_Made_On_Management_Path="1"))
    with pytest.raises(ApplianceError) as caught:
        client.bucket_exists("b")
    assert caught.value.code == "ManagementPort"


def test_a_listing_follows_its_markers_page_by_page() -> None:
    """The next page is asked for with the marker of the last, and not before it is wanted."""
    client, exchange = made(reply("listing-prefixes"), reply("listing"))
    pages = client.listing_pages("b", prefix="p", delimiter="/", start_after="2023/", page_size=3)
    assert exchange.lines == []
    assert next(pages).next_marker == "a & b/"
    assert exchange.lines == ["GET /b?delimiter=%2F&marker=2023%2F&max_keys=3&prefix=p"]
    assert [page.truncated for page in pages] == [False]
    assert exchange.lines[1] == "GET /b?delimiter=%2F&marker=a%20%26%20b%2F&max_keys=3&prefix=p"


def versions_page(*versions: tuple[str, str], next_marker: str = "") -> Response:
    """Return a page of versions: pairs of key and version id."""
    rows = "".join(
        f"<Version><Key>{key}</Key><Size>1</Size><LastModified>2024-02-01T08:05:00.000Z</LastModified>"
        f"<VersionId>{version}</VersionId></Version>"
        for key, version in versions
    )
    text = (
        f"<ListVersionsResult><Name>b</Name><NextMarker>{next_marker}</NextMarker>"
        f"<IsTruncated>{str(bool(next_marker)).lower()}</IsTruncated>{rows}</ListVersionsResult>"
    )
    return Response(200, Headers(), (text.encode(),))


def test_a_page_that_ends_amid_the_versions_of_a_key_is_completed() -> None:
    """The next page begins with another key, so the versions that are left are asked for by that key."""
    client, exchange = made(
        versions_page(("a", "1"), ("k", "3"), next_marker="k"),
        versions_page(("k", "3"), ("k", "2"), ("k", "1"), ("k2", "1")),
        versions_page(("k2", "1")),
    )
    found = [(one.key, one.version_id) for one in client.list_objects("b", versions=True)]
    assert found == [("a", "1"), ("k", "3"), ("k", "2"), ("k", "1"), ("k2", "1")]
    assert exchange.lines == [
        "GET /b?max_keys=1000&versions",
        "GET /b?max_keys=1000&prefix=k&versions",
        "GET /b?marker=k&max_keys=1000&versions",
    ]


def test_objects_are_listed_across_pages() -> None:
    """The objects of all pages come one after the other."""
    client, exchange = made(reply("listing-prefixes"), reply("listing-versions"))
    assert [one.key for one in client.list_objects("b", versions=True)] == ["README", "2024/old.bin", "2024/old.bin"]
    assert exchange.lines[0] == "GET /b?max_keys=1000&versions"


def test_a_listing_that_does_not_move_on_is_refused() -> None:
    """A page that says to go on where it began is a ProtocolError, not an endless loop."""
    client, exchange = made(reply("listing-prefixes"), reply("listing-prefixes"), reply("listing-prefixes"))
    with pytest.raises(ProtocolError, match="does not move on"):
        list(client.list_objects("b"))
    assert len(exchange.lines) == 2


def test_a_truncated_page_without_marker_goes_on_after_its_last_name() -> None:
    """Where a server leaves NextMarker out, as AWS does, the last key of the page is the marker."""
    document = (
        b"<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents><Contents><Key>b</Key><Size>1</Size>"
        b"</Contents><IsTruncated>true</IsTruncated></ListBucketResult>"
    )
    client, exchange = made(Response(200, Headers(), (document,)), reply("listing-empty"))
    assert [one.key for one in client.list_objects("x")] == ["a", "b"]
    assert exchange.lines[1] == "GET /x?marker=b&max_keys=1000"


# -- jobs -------------------------------------------------------------------------------------------------------------


def test_chunks_that_are_ready() -> None:
    """Ready chunks come with the time to ask again; the preferred number and one chunk can be asked for."""
    client, exchange = made(reply("chunks-ready", Retry_After="7"))
    ready = client.get_ready_chunks("j", preferred_number=2, chunk_id="c")
    expected = GOLDEN["chunks-ready"].value
    assert isinstance(expected, JobDetails)
    assert (ready.job, ready.chunks, ready.retry_after) == (expected.job, expected.chunks, timedelta(seconds=7))
    assert exchange.lines == ["GET /_rest_/job_chunk?job=j&job_chunk=c&preferred_number_of_chunks=2"]


@pytest.mark.parametrize("status", [503, 307])
@pytest.mark.parametrize(("header", "wait"), [({"Retry_After": "9"}, timedelta(seconds=9)), ({}, None)])
def test_no_room_for_a_chunk_is_an_answer(status: int, header: dict[str, str], wait: timedelta | None) -> None:
    """503, and 307 in old releases, mean to wait: the exchange is told not to retry, and nothing is raised."""
    client, exchange = made(Response(status, Headers((k.replace("_", "-"), v) for k, v in header.items())))
    assert client.allocate_chunk("c") == AllocatedChunk(None, wait)
    assert exchange.retried_busy == [False]


def test_room_for_a_chunk() -> None:
    """An allocated chunk comes back with its node."""
    client, exchange = made(reply("chunk-allocated"))
    assert client.allocate_chunk("c") == AllocatedChunk(GOLDEN["chunk-allocated"].value)  # type: ignore[arg-type]
    assert exchange.lines == ["PUT /_rest_/job_chunk/c?operation=allocate"]


def test_other_failures_to_allocate_are_raised() -> None:
    """A chunk that is not there is an error, not a reason to wait."""
    client, _ = made(reply(status=404))
    with pytest.raises(NotFoundError):
        client.allocate_chunk("c")


def test_only_allocation_turns_a_busy_appliance_into_an_answer() -> None:
    """Any other call raises when the appliance stays busy, and lets the exchange retry first."""
    client, exchange = made(reply(status=503))
    with pytest.raises(BusyError):
        client.get_system_health()
    assert exchange.retried_busy == [True]


# -- paged lists ------------------------------------------------------------------------------------------------------


def test_a_paged_list_ends_with_the_total() -> None:
    """The offset grows by what came, whatever was asked for, until the total is reached."""
    client, exchange = made(*(reply("tapes", total_result_count="3", page_truncated="") for _ in range(3)))
    assert len(list(client.list_tapes())) == 3
    assert [line.rpartition("=")[2] for line in exchange.lines] == ["0", "1", "2"]


def test_a_paged_list_ends_when_nothing_is_left() -> None:
    """A page after which no items remain is the last."""
    client, exchange = made(reply("tapes", page_truncated="1"), reply("tapes", page_truncated="0"))
    assert len(list(client.list_tapes())) == 2
    assert len(exchange.lines) == 2


def test_a_paged_list_ends_with_an_empty_page() -> None:
    """An empty page ends a list whose numbers promise more: it shrank meanwhile."""
    client, _ = made(reply("tapes", total_result_count="5"), reply("list-empty", total_result_count="5"))
    assert len(list(client.list_tapes())) == 1


def test_a_paged_list_without_numbers_ends_with_a_short_page() -> None:
    """A server that does not count is asked again only after a full page."""
    client, exchange = made(reply("tapes"))
    assert len(list(client.list_tapes())) == 1
    assert len(exchange.lines) == 1


def test_a_paged_list_holds_one_page() -> None:
    """The second page is asked for when the first has been taken."""
    client, exchange = made(reply("tapes", page_truncated="1"), reply("tapes", page_truncated="0"))
    tapes = client.list_tapes()
    assert exchange.lines == []
    next(tapes)
    assert len(exchange.lines) == 1


# -- making one -------------------------------------------------------------------------------------------------------

ENVIRONMENT = {"DS3_ENDPOINT": "http://bp.example:8080", "DS3_ACCESS_KEY": "me", "DS3_SECRET_KEY": SECRET}


def _settings(client: Ds3Client) -> ConnectionSettings:
    return client.exchange._settings  # type: ignore[attr-defined, no-any-return]  # the transport's own


def test_a_client_from_the_environment() -> None:
    """Endpoint, keys and proxy come from the environment that is given."""
    with Ds3Client.from_environment({**ENVIRONMENT, "http_proxy": "http://proxy.example:3128"}) as client:
        settings = _settings(client)
    assert (settings.endpoint, settings.access_key, settings.secret_key) == ("http://bp.example:8080", "me", SECRET)
    assert settings.proxy == "http://proxy.example:3128"


@pytest.mark.parametrize(
    "changes",
    [
        {"http_proxy": "http://p:1", "DS3_ENDPOINT": "http://127.0.0.1:9"},
        {"http_proxy": "http://p:1", "DS3_ENDPOINT": "localhost:9"},
        {"http_proxy": "http://p:1", "DS3_ENDPOINT": "http://[::1]:9"},
        {"http_proxy": "http://p:1", "no_proxy": "bp.example"},
        {"http_proxy": "http://p:1", "NO_PROXY": "other, .example"},
        {"https_proxy": "http://p:1"},
    ],
)
def test_where_no_proxy_is_used(changes: dict[str, str]) -> None:
    """Loopback, what no_proxy names, and another scheme's proxy mean a direct connection."""
    with Ds3Client.from_environment({**ENVIRONMENT, **changes}) as client:
        assert _settings(client).proxy is None


@pytest.mark.parametrize("missing", sorted(ENVIRONMENT))
def test_a_missing_variable_is_named(missing: str) -> None:
    """An environment without endpoint or key is a ConfigError that names the variable, and no secret."""
    with pytest.raises(ConfigError) as caught:
        Ds3Client.from_environment({**ENVIRONMENT, missing: ""})
    assert missing in f"{caught.value.message} {caught.value.hint}"
    assert SECRET not in f"{caught.value!r} {caught.value.hint}"


def test_a_client_from_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named profile of a configuration file makes a client; one that is not there is a ConfigError."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "config.toml"
    path.write_text(f'[profile.lab]\nendpoint = "http://bp:1"\naccess_key = "me"\nsecret_key = "{SECRET}"\n')
    path.chmod(0o600)
    with Ds3Client.from_profile("lab", path) as client:
        assert _settings(client).endpoint == "http://bp:1"
    with pytest.raises(ConfigError, match="elsewhere"):
        Ds3Client.from_profile("elsewhere", path)


def test_a_client_closes_what_it_was_given_to_close() -> None:
    """Leaving the block closes once; an exchange that stays its owner's is left open."""
    closed: list[str] = []
    with Ds3Client.over(RecordingExchange(), close=lambda: closed.append("closed")) as client:
        assert closed == []
    assert closed == ["closed"]
    Ds3Client.over(RecordingExchange()).close()
    assert isinstance(client, Ds3Client)


def test_nothing_is_sent_for_what_cannot_be() -> None:
    """A UsageError comes before any request."""
    client, exchange = made()
    with pytest.raises(UsageError):
        client.delete_object("b", "")
    with pytest.raises(UsageError):
        client.create_put_job("b", [ObjectToPut("bad\0key", 1)])
    assert exchange.lines == []


def test_the_secret_is_in_no_representation() -> None:
    """Neither the client nor its exchange, signer and settings show the secret."""
    with Ds3Client(ConnectionSettings("http://bp:1", "me", SECRET)) as client:
        shown = [repr(client), repr(vars(client)), repr(client.exchange), repr(vars(client.exchange))]
    assert SECRET not in " ".join(shown)


def test_the_transport_is_an_exchange() -> None:
    """A client made from settings sends through the transport."""
    client = Ds3Client(ConnectionSettings("http://bp:1", "me", SECRET))
    exchange: Exchange = client.exchange
    assert type(exchange).__name__ == "Transport"
    client.close()
