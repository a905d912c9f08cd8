"""Notifications: who registers is told, in time or later, at least once, whatever the receiver does."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme

from ds3tool.simulator import Fault, ManualClock
from ds3tool.simulator.notifications import KINDS
from tests.simulator.conftest import Bench, Build
from tests.simulator.receiver import Received, Receiver, free_port
from tests.simulator.wire import Wire

_PLAIN = [
    *("CreationDate", "Format", "Id", "LastFailure", "LastHttpResponseCode", "LastNotification", "NamingConvention"),
    *("NotificationEndPoint", "NotificationHttpMethod", "NumberOfFailuresSinceLastSuccess", "UserId"),
]
_RESOURCES = {
    **{name: f"{name}_notification_registration" for name in ("job_created", "job_completed", "job_creation_failed")},
    **{name: f"{name}_notification_registration" for name in ("object_cached", "object_lost", "object_persisted")},
    **{name: f"{name}_notification_registration" for name in ("tape_failure", "tape_partition_failure")},
    **{name: f"{name}_notification_registration" for name in ("storage_domain_failure", "system_failure")},
    **{name: f"{name}_notification_registration" for name in ("pool_failure", "bucket_changes")},
    **{f"{name}_target_failure": f"{name}_target_failure_notification_registration" for name in ("azure", "ds3", "s3")},
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An end point that takes everything."""
    with Receiver() as one:
        yield one


def _register(bench: Bench, kind: str, end_point: str, parameters: str = "") -> str:
    target = f"/_rest_/{_RESOURCES[kind]}?notification_end_point={quote(end_point, safe='')}{parameters}"
    answer = bench.wire.ask("POST", target)
    assert answer.status == 201, answer
    return answer.xml.findtext("Id") or ""


def _shown(bench: Bench, kind: str, registration: str) -> dict[str, str]:
    answer = bench.wire.ask("GET", f"/_rest_/{_RESOURCES[kind]}/{registration}")
    assert answer.status == 200, answer
    return {each.tag: each.text or "" for each in answer.xml}


def _settled(bench: Bench) -> None:
    """Wait until no notice waits."""
    db = bench.appliance.machine.store.db
    bench.until(lambda: db.execute("SELECT count(*) FROM notices").fetchone() == (0,), "a notice never went")


def _failed(bench: Bench, kind: str, registration: str, times: int) -> None:
    """Wait until a registration has so many failures since its last success."""
    registrations = bench.appliance.machine.notifications.registrations
    name = kind.title().replace("_", "")

    def is_so() -> bool:
        record = registrations.get(name, registration)
        return record is not None and record["NumberOfFailuresSinceLastSuccess"] == times

    bench.until(is_so, f"it never failed {times} times")


def _blobs(received: Received) -> list[tuple[str, int, int]]:
    return [
        (each.attrib["Name"], int(each.attrib["Offset"]), int(each.attrib["Length"]))
        for each in received.payload.iter("Object")
    ]


# Registrations.


def test_every_kind_is_registered_listed_shown_and_deleted(build: Build) -> None:
    """With any text as its end point, the type's elements in order, the defaults, and the user who registered."""
    bench = build()
    user = bench.wire.ask("GET", "/_rest_/user").xml.findtext("User/Id")
    assert len(_RESOURCES) == len(KINDS) == 15
    for kind, resource in _RESOURCES.items():
        made = bench.wire.ask("POST", f"/_rest_/{resource}?notification_end_point=test@test.test")
        assert made.status == 201, made
        extra = {
            "bucket_changes": ["BucketId", "LastSequenceNumber"],
            **{kind: ["JobId"] for kind in ("job_completed", "object_cached", "object_persisted")},
        }
        assert [each.tag for each in made.xml] == sorted([*_PLAIN, *extra.get(kind, [])])
        assert (made.xml.findtext("Format"), made.xml.findtext("NotificationHttpMethod")) == ("DEFAULT", "POST")
        assert made.xml.findtext("NamingConvention") == "CAMEL_CASE_WITH_FIRST_LETTER_UPPERCASE"
        assert made.xml.findtext("NotificationEndPoint") == "test@test.test"
        assert made.xml.findtext("NumberOfFailuresSinceLastSuccess") == "0"
        assert made.xml.findtext("UserId") == user
        listed = bench.wire.ask("GET", f"/_rest_/{resource}?user_id=Administrator&page_length=5")
        assert listed.headers["total-result-count"] == "1"
        (row,) = listed.xml
        assert [(each.tag, each.text) for each in row] == [(each.tag, each.text) for each in made.xml]
        one = f"/_rest_/{resource}/{made.xml.findtext('Id')}"
        assert bench.wire.ask("GET", one).body == made.body
        assert bench.wire.ask("DELETE", one).status == 204
        assert bench.wire.ask("DELETE", one).status == 404
        assert bench.wire.ask("GET", one).status == 404


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ("", 400),
        ("?notification_end_point=", 400),
        ("?notification_end_point=x&format=CSV", 400),
        ("?notification_end_point=x&naming_convention=KEBAB", 400),
        ("?notification_end_point=x&notification_http_method=GET", 400),
        ("?notification_end_point=x&job_id=00000000-0000-4000-8000-000000000000", 404),
        ("?notification_end_point=x&format=json&naming_convention=constant&notification_http_method=put", 201),
    ],
)
def test_a_registration_that_says_nonsense_is_refused(bench: Bench, parameters: str, status: int) -> None:
    """Words that are none, verbs that carry no document, no end point, a job that is not there."""
    answer = bench.wire.ask("POST", f"/_rest_/job_completed_notification_registration{parameters}")
    assert answer.status == status, answer


# What is told.


def test_a_job_is_told_from_its_creation_to_its_end(bench: Bench, receiver: Receiver) -> None:
    """Created, every blob cached, every blob persisted, completed, in the documents of the contract's types."""
    for kind in ("job_created", "object_cached", "object_persisted", "job_completed"):
        _register(bench, kind, receiver.url)
    job = bench.wire.put_all("b", {"a": b"a" * 2500, "b": b"b" * 10})
    bench.until_persisted()
    _settled(bench)
    told: dict[str, list[Received]] = {}
    while receiver.waiting:
        one = receiver.next()
        assert (one.verb, one.path) == ("POST", "/hook?of=tests")
        assert one.headers["content-type"] == "application/xml"
        assert one.text("JobId") == job
        assert one.text("NotificationGenerationDate").endswith("Z")
        told.setdefault(one.payload.tag, []).append(one)
    blobs = sorted([("a", 0, 1000), ("a", 1000, 1000), ("a", 2000, 500), ("b", 0, 10)])
    assert sorted(blob for one in told.pop("S3ObjectsCachedNotificationPayload") for blob in _blobs(one)) == blobs
    persisted = told.pop("S3ObjectsPersistedNotificationPayload")
    assert sorted(blob for one in persisted for blob in _blobs(one)) == blobs
    assert [each.tag for each in persisted[0].payload] == ["JobId", "NotificationGenerationDate", "Objects"]
    attributes = list(persisted[0].payload.find("Objects/Object").attrib)  # type: ignore[union-attr] # or it fails
    assert attributes == ["Bucket", "Id", "InCache", "Latest", "Length", "Name", "Offset", "VersionId"]
    (completed,) = told.pop("JobCompletedNotificationPayload")
    assert [each.tag for each in completed.payload] == [
        *("CancelOccurred", "JobId", "NotificationGenerationDate", "ObjectsNotPersisted"),
    ]
    assert (completed.text("CancelOccurred"), _blobs(completed)) == ("false", [])
    (created,) = told.pop("JobCreatedNotificationPayload")
    assert [each.tag for each in created.payload] == ["JobId", "NotificationGenerationDate"]
    assert not told


@pytest.mark.parametrize(("parameters", "canceled"), [("?force", "true"), ("", "false")])
def test_a_put_that_is_cut_short_names_the_blobs_that_are_not_on_tape(
    build: Build, receiver: Receiver, parameters: str, canceled: str
) -> None:
    """Cancelled or truncated: those received and those never sent, of objects that went; not those that are on tape."""
    bench = build(blob_size=1000, chunk_size=1000)
    _register(bench, "job_completed", receiver.url)
    job = bench.wire.start_put("b", {"first": 1000, "second": 1500}).xml.attrib["JobId"]
    bench.wire.put_blob("b", "first", job, 0, b"f" * 1000)
    bench.until(lambda: next(iter(bench.appliance.machine.jobs.active.values())).completed == 1000)
    bench.wire.put_blob("b", "second", job, 0, b"s" * 1000)
    assert bench.wire.ask("DELETE", f"/_rest_/job/{job}{parameters}").status == 204
    told = receiver.next()
    assert (told.text("CancelOccurred"), told.text("JobId")) == (canceled, job)
    names = {(name, offset) for name, offset, _ in _blobs(told)}
    assert ("second", 1000) in names
    assert names <= {("second", 0), ("second", 1000)}  # the first may have come to tape before


def test_large_lists_of_blobs_are_several_bounded_notices(
    build: Build, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every blob is named once, in notices of no more than the bound."""
    monkeypatch.setattr("ds3tool.simulator.notifications.notices.MOST_BLOBS", 20)
    bench = build()
    _register(bench, "job_completed", receiver.url)
    job = bench.wire.start_put("b", {f"o{number}": 1 for number in range(50)}).xml.attrib["JobId"]
    assert bench.wire.ask("DELETE", f"/_rest_/job/{job}?force").status == 204
    notices = [receiver.next() for _ in range(3)]
    assert {one.text("CancelOccurred") for one in notices} == {"true"}
    assert sorted(len(_blobs(one)) for one in notices) == [10, 20, 20]
    assert sorted(name for one in notices for name, _, _ in _blobs(one)) == sorted(f"o{n}" for n in range(50))


def test_blobs_that_come_from_tape_are_told_as_cached(bench: Bench, receiver: Receiver) -> None:
    """By the get job that they were loaded for; what is in the cache before is not told."""
    bench.wire.put_all("b", {"a": b"a" * 1500, "b": b"b"})
    bench.until_persisted()
    bench.reclaim()
    _register(bench, "object_cached", receiver.url)
    job = bench.wire.start_get("b", ["a"]).xml.attrib["JobId"]
    blobs: list[tuple[str, int, int]] = []
    while len(blobs) < 2:
        one = receiver.next()
        assert one.text("JobId") == job
        blobs += _blobs(one)
    assert sorted(blobs) == [("a", 0, 1000), ("a", 1000, 500)]
    assert receiver.waiting == 0


def test_a_job_that_tapes_are_missing_for_is_told_with_their_bar_codes(build: Build, receiver: Receiver) -> None:
    """JobCreationFailed, with what must be put back."""
    bench = build(tapes=1, copies=1)
    _register(bench, "job_creation_failed", receiver.url)
    bench.wire.put_all("b", {"a": b"a"})
    bench.until_persisted()
    bench.reclaim()
    assert bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?operation=eject").status == 200
    library = bench.appliance.machine.library
    bench.until(lambda: library.find("SIM001L8").state == "EJECTED")
    assert bench.wire.start_get("b", ["a"]).status == 409
    told = receiver.next()
    assert [each.tag for each in told.payload] == [
        *("ErrorMessage", "NotificationGenerationDate", "TapesMustBeOnlined", "UserName"),
    ]
    assert told.payload.findtext("TapesMustBeOnlined/TapesToOnline/TapeBarCodes") == "SIM001L8"
    assert told.text("UserName") == "Administrator"


def test_a_damaged_copy_is_a_tape_failure_and_the_last_one_a_lost_object(build: Build, receiver: Receiver) -> None:
    """Both are told when a get comes upon it."""
    bench = build(faults=(), copies=1)
    bench.appliance.faults.set(Fault.CORRUPT_MEDIA, 1.0)
    bench.wire.put_all("b", {"a": b"a" * 100})
    bench.until_persisted()
    bench.appliance.faults.clear()
    bench.reclaim()
    _register(bench, "tape_failure", receiver.url)
    _register(bench, "object_lost", receiver.url)
    bench.wire.start_get("b", ["a"])
    told = {each.payload.tag: each for each in (receiver.next(), receiver.next())}
    failure = told["TapeFailureNotificationPayload"]
    tape = bench.appliance.machine.library.find("SIM001L8")
    assert (failure.text("Type"), failure.text("TapeId")) == ("BLOB_READ_FAILED", tape.id)
    assert failure.text("Date").endswith("Z")
    assert _blobs(told["S3ObjectsLostNotificationPayload"]) == [("a", 0, 100)]


def test_a_tape_that_is_struck_from_the_inventory_loses_what_is_nowhere_else(build: Build, receiver: Receiver) -> None:
    """What is in the cache still is not lost."""
    bench = build(tapes=1)
    bench.wire.put_all("b", {"gone": b"g" * 100})
    bench.until_persisted()
    bench.reclaim()
    bench.wire.put_all("b", {"cached": b"c"})
    bench.until_persisted()
    _register(bench, "object_lost", receiver.url)
    library = bench.appliance.machine.library
    bench.until(lambda: not library.in_use, "a drive kept the tape")
    assert bench.wire.ask("PUT", "/_rest_/tape/SIM001L8?state=LOST").status == 200
    assert bench.wire.ask("DELETE", "/_rest_/tape/SIM001L8").status == 204
    told = receiver.next()
    assert [each.tag for each in told.payload] == ["NotificationGenerationDate", "Objects"]
    assert _blobs(told) == [("gone", 0, 100)]


def test_changes_of_a_bucket_are_told_by_their_numbers(build: Build, receiver: Receiver) -> None:
    """Those after the registration and of its bucket, the ones that the history has; the last one is remembered."""
    bench = build()
    assert bench.wire.ask("PUT", "/other").status == 200
    bench.wire.ask("PUT", "/b/before", b"x")
    registration = _register(bench, "bucket_changes", receiver.url, "&bucket_id=b")
    bench.wire.ask("PUT", "/other/a", b"x")
    bench.wire.ask("PUT", "/b/a", b"x")
    bench.wire.ask("DELETE", "/b/a")
    history = bench.wire.ask("GET", "/_rest_/bucket_history?bucket_id=b").xml
    wanted = [(each.findtext("Id"), each.findtext("SequenceNumber")) for each in history][1:]
    told: list[tuple[str | None, str | None]] = []
    while len(told) < 2:
        one = receiver.next()
        assert one.payload.tag == "BucketChangesNotificationPayload"
        told += [(each.findtext("Id"), each.findtext("SequenceNumber")) for each in one.payload.iter("Changes")]
        assert one.text("LastProcessedEvent") == told[-1][1]
    assert told == wanted
    _settled(bench)
    assert _shown(bench, "bucket_changes", registration)["LastSequenceNumber"] == wanted[-1][1]


def test_a_registration_of_one_job_hears_of_no_other_and_goes_with_it(bench: Bench, receiver: Receiver) -> None:
    """It is deleted by itself when the job has ended and its notice is out."""
    job = bench.wire.start_put("b", {"mine": 1}).xml.attrib["JobId"]
    registration = _register(bench, "job_completed", receiver.url, f"&job_id={job}")
    cached = _register(bench, "object_cached", "test@test.test", f"&job_id={job}")
    assert _shown(bench, "job_completed", registration)["JobId"] == job
    bench.wire.put_all("b", {"other": b"x"})
    assert bench.wire.put_blob("b", "mine", job, 0, b"m").status == 200
    assert receiver.next().text("JobId") == job
    _settled(bench)
    for kind, identifier in (("job_completed", registration), ("object_cached", cached)):
        assert bench.wire.ask("GET", f"/_rest_/{_RESOURCES[kind]}/{identifier}").status == 404
    assert receiver.waiting == 0


def test_a_job_that_could_not_begin_is_told_to_nobody(build: Build, receiver: Receiver) -> None:
    """An ordered get larger than the cache is refused; the next job is the first that anybody hears of."""
    bench = build(blob_size=1000, chunk_size=1000, cache_size=2000)
    for name in "abc":
        bench.wire.put_all("b", {name: b"x" * 1000})
        bench.until_persisted()
    bench.reclaim()
    _register(bench, "job_created", receiver.url)
    _register(bench, "job_completed", receiver.url)
    assert bench.wire.start_get("b", ["a", "b", "c"], order="IN_ORDER").status == 503
    job = bench.wire.start_get("b", ["a"]).xml.attrib["JobId"]
    assert receiver.next().text("JobId") == job
    assert receiver.waiting == 0


# How it is told.


@pytest.mark.parametrize(
    ("naming", "names"),
    [
        ("CONCAT_LOWERCASE", ("data", "s3objectspersistednotificationpayload", "notificationgenerationdate")),
        ("CONSTANT", ("DATA", "S3_OBJECTS_PERSISTED_NOTIFICATION_PAYLOAD", "NOTIFICATION_GENERATION_DATE")),
        ("UNDERSCORED", ("data", "s3_objects_persisted_notification_payload", "notification_generation_date")),
        (
            "CAMEL_CASE_WITH_FIRST_LETTER_LOWERCASE",
            ("data", "s3ObjectsPersistedNotificationPayload", "notificationGenerationDate"),
        ),
        (
            "CAMEL_CASE_WITH_FIRST_LETTER_UPPERCASE",
            ("Data", "S3ObjectsPersistedNotificationPayload", "NotificationGenerationDate"),
        ),
    ],
)
def test_names_are_written_as_the_registration_asks(
    bench: Bench, receiver: Receiver, naming: str, names: tuple[str, str, str]
) -> None:
    """In JSON, by PUT: lists are arrays, numbers and truths are themselves."""
    parameters = f"&format=JSON&notification_http_method=PUT&naming_convention={naming}"
    _register(bench, "object_persisted", receiver.url, parameters)
    job = bench.wire.put_all("b", {"a": b"abc"})
    told = receiver.next()
    assert (told.verb, told.headers["content-type"]) == ("PUT", "application/json")
    root, payload, generated = names
    members = told.members[root][payload]
    assert generated in members
    assert job in members.values()
    ((blob,),) = [value for value in members.values() if isinstance(value, list)]
    assert {"a", 0, 3, True} <= set(blob.values())


def test_the_naming_convention_is_for_attributes_too(bench: Bench, receiver: Receiver) -> None:
    """In XML."""
    _register(bench, "object_cached", receiver.url, "&naming_convention=UNDERSCORED")
    bench.wire.put_all("b", {"a": b"abc"})
    assert b'<object bucket="b" ' in receiver.next().body


# Receivers that fail.


def test_a_notice_is_tried_again_until_its_receiver_takes_it(build: Build) -> None:
    """After 1, 2 and 4 seconds of the appliance's clock; the same document each time; what failed is on record."""
    clock = ManualClock()
    statuses = iter((503, 302, 404, 204))
    with Receiver(lambda _: next(statuses)) as receiver:
        bench = build(clock=clock)
        registration = _register(bench, "job_created", receiver.url)
        bench.wire.start_put("b", {"a": 1})
        first = receiver.next()
        for failures, wait, code in ((1, 1, "503"), (2, 2, "302"), (3, 4, "404")):
            _failed(bench, "job_created", registration, failures)
            shown = _shown(bench, "job_created", registration)
            assert shown["LastHttpResponseCode"] == code
            assert code in shown["LastFailure"]
            clock.advance(wait - 0.5)
            assert receiver.waiting == 0
            clock.advance(0.5)
            again = receiver.next()
            assert (again.path, again.body) == (first.path, first.body)
        _settled(bench)
        shown = _shown(bench, "job_created", registration)
        assert (shown["LastHttpResponseCode"], shown["NumberOfFailuresSinceLastSuccess"]) == ("204", "0")
        assert receiver.waiting == 0


def test_later_notices_overtake_one_that_failed(build: Build) -> None:
    """So a receiver sees events out of their order."""
    clock = ManualClock()
    refused: set[bytes] = set()

    def answer(received: Received) -> int:
        if not refused:
            refused.add(received.body)
            return 500
        return 200

    with Receiver(answer) as receiver:
        bench = build(clock=clock)
        registration = _register(bench, "job_created", receiver.url)
        jobs = [bench.wire.start_put("b", {"a": 1}).xml.attrib["JobId"]]
        assert receiver.next().text("JobId") == jobs[0]
        _failed(bench, "job_created", registration, 1)
        jobs.append(bench.wire.start_put("b", {"b": 1}).xml.attrib["JobId"])
        assert receiver.next().text("JobId") == jobs[1]
        clock.advance(2)
        assert receiver.next().text("JobId") == jobs[0]


def test_a_notice_that_nobody_takes_is_given_up_and_the_registration_stays(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    """After twenty tries, or when it is a day old; nothing is left waiting, and no log has the end point's secret."""
    clock = ManualClock()
    bench = build(clock=clock)
    registration = _register(bench, "job_created", f"http://127.0.0.1:{free_port()}/hook?token=s3cr3t")
    bench.wire.start_put("b", {"a": 1})
    for tries in range(1, 20):
        _failed(bench, "job_created", registration, tries)
        clock.advance(600)
    _settled(bench)
    shown = _shown(bench, "job_created", registration)
    assert shown["NumberOfFailuresSinceLastSuccess"] == "20"
    assert shown["LastHttpResponseCode"] == ""
    assert registration in caplog.text
    assert "s3cr3t" not in caplog.text
    bench.wire.start_put("b", {"b": 1})
    _failed(bench, "job_created", registration, 21)
    clock.advance(25 * 3600.0)
    _settled(bench)
    assert _shown(bench, "job_created", registration)["NumberOfFailuresSinceLastSuccess"] == "22"


def test_the_oldest_notice_makes_way_when_too_many_wait(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a receiver that is never there costs no more than so much room; when it is back, it hears the latest."""
    monkeypatch.setattr("ds3tool.simulator.notifications.notices.MOST_WAITING", 3)
    clock = ManualClock()
    there = threading.Event()
    with Receiver(lambda _: 200 if there.is_set() else 503) as receiver:
        bench = build(clock=clock)
        registration = _register(bench, "job_created", receiver.url)
        jobs = []
        for number in range(5):
            jobs.append(bench.wire.start_put("b", {f"o{number}": 1}).xml.attrib["JobId"])
            _failed(bench, "job_created", registration, number + 1)
            assert receiver.next().text("JobId") == jobs[-1]
        there.set()
        clock.advance(1)
        assert {receiver.next().text("JobId") for _ in range(3)} == set(jobs[2:])
        _settled(bench)
        assert receiver.waiting == 0


def test_a_receiver_that_says_nothing_holds_up_nobody_else(bench: Bench, receiver: Receiver) -> None:
    """Nor the end of the appliance, which comes at once."""
    with Receiver(lambda _: None) as silent:
        _register(bench, "job_created", silent.url)
        _register(bench, "job_created", receiver.url)
        job = bench.wire.start_put("b", {"a": 1}).xml.attrib["JobId"]
        assert silent.next().text("JobId") == job
        assert receiver.next().text("JobId") == job
        following = bench.wire.start_put("b", {"b": 1}).xml.attrib["JobId"]
        assert receiver.next().text("JobId") == following
        bench.appliance.close()


def test_nothing_is_sent_to_the_appliance_itself(build: Build) -> None:
    """Nor to what is no URL of HTTP; the jobs go on, and the registration says what is wrong."""
    bench = build()
    own = _register(bench, "job_created", bench.appliance.endpoint)
    bench.wire.put_all("b", {"a": b"x"})
    _failed(bench, "job_created", own, 1)
    _settled(bench)
    assert "itself" in _shown(bench, "job_created", own)["LastFailure"]
    mail = _register(bench, "job_completed", "mailto:operator@example.org")
    bench.wire.put_all("b", {"b": b"x"})
    bench.until_persisted()
    _settled(bench)
    assert _shown(bench, "job_completed", mail)["NumberOfFailuresSinceLastSuccess"] == "0"


def test_proxies_of_the_environment_are_not_asked(
    bench: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end point is told directly."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    _register(bench, "job_created", receiver.url)
    bench.wire.start_put("b", {"a": 1})
    assert receiver.next().path == "/hook?of=tests"


def test_a_receiver_that_never_answers_has_failed(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the limit for one try is over."""
    monkeypatch.setattr("ds3tool.simulator.notifications.posting._LIMIT", 0.05)
    with Receiver(lambda _: None) as silent:
        bench = build(clock=ManualClock())
        registration = _register(bench, "job_created", silent.url)
        bench.wire.start_put("b", {"a": 1})
        _failed(bench, "job_created", registration, 1)
        assert _shown(bench, "job_created", registration)["LastHttpResponseCode"] == ""
        silent.close()


def test_an_end_point_of_https_must_prove_who_it_is(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a certificate of an authority that the machine trusts."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    clock = ManualClock()
    with Receiver(context=context) as receiver:
        bench = build(clock=clock)
        registration = _register(bench, "job_created", receiver.url)
        job = bench.wire.start_put("b", {"a": 1}).xml.attrib["JobId"]
        _failed(bench, "job_created", registration, 1)
        assert "certificate" in _shown(bench, "job_created", registration)["LastFailure"]
        assert receiver.waiting == 0
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        clock.advance(1)
        assert receiver.next().text("JobId") == job


# Faults of the way.


def test_a_delivered_notice_may_come_twice(build: Build, receiver: Receiver) -> None:
    """With the same document, and no more than twice."""
    bench = build()
    bench.appliance.faults.set(Fault.NOTICE_TWICE, 1.0)
    _register(bench, "job_created", receiver.url)
    bench.wire.start_put("b", {"a": 1})
    assert receiver.next().body == receiver.next().body
    _settled(bench)
    assert (receiver.waiting, bench.appliance.faults.struck(Fault.NOTICE_TWICE)) == (0, 1)


def test_a_notice_whose_answer_was_lost_comes_again(build: Build, receiver: Receiver) -> None:
    """It counts as failed."""
    clock = ManualClock()
    bench = build(clock=clock)
    bench.appliance.faults.set(Fault.NOTICE_LOST_REPLY, 1.0, most=1)
    registration = _register(bench, "job_created", receiver.url)
    bench.wire.start_put("b", {"a": 1})
    first = receiver.next()
    _failed(bench, "job_created", registration, 1)
    assert _shown(bench, "job_created", registration)["LastHttpResponseCode"] == ""
    clock.advance(1)
    assert receiver.next().body == first.body
    _settled(bench)


def test_a_notice_that_is_late_comes_after_those_that_followed(build: Build, receiver: Receiver) -> None:
    """Within a minute or so of the appliance's clock; which one is late is up to the seed."""
    clock = ManualClock()
    bench = build(clock=clock)
    bench.appliance.faults.set(Fault.NOTICE_LATE, 1.0, most=1)
    _register(bench, "job_created", receiver.url)
    late = bench.wire.start_put("b", {"a": 1}).xml.attrib["JobId"]
    bench.until(lambda: bench.appliance.faults.struck(Fault.NOTICE_LATE) == 1)
    following = bench.wire.start_put("b", {"b": 1}).xml.attrib["JobId"]
    assert receiver.next().text("JobId") == following
    clock.advance(61)
    assert receiver.next().text("JobId") == late


def _doubled(build: Build, receiver: Receiver) -> list[str]:
    """Return the jobs whose creation is told twice, by one appliance of the seed that all have here."""
    bench = build()
    bench.appliance.faults.set(Fault.NOTICE_TWICE, 0.3)
    _register(bench, "job_created", receiver.url)
    for number in range(20):
        bench.wire.start_put("b", {f"o{number}": 1})
    _settled(bench)
    told = [receiver.next().text("JobId") for _ in range(receiver.waiting)]
    assert len(set(told)) == 20
    return sorted(job for job in set(told) if told.count(job) == 2)


def test_which_notices_come_twice_is_up_to_the_seed(build: Build, receiver: Receiver) -> None:
    """Two appliances of one seed repeat the same ones, and neither all nor none."""
    first = _doubled(build, receiver)
    assert 0 < len(first) < 20
    assert _doubled(build, receiver) == first


# Ends and beginnings.


def test_registrations_of_a_user_who_is_deleted_go(build: Build) -> None:
    """And nothing is left waiting for them."""
    bench = build(clock=ManualClock())
    made = bench.wire.ask("POST", "/_rest_/user?name=passing").xml
    keys = made.findtext("AuthId") or "", made.findtext("SecretKey") or ""
    bench.wire.ask("POST", "/_rest_/bucket_acl?user_id=passing&permission=OWNER&bucket_id=b")
    theirs = Wire(bench.appliance.endpoint, *keys, now=bench.wire.now)
    target = f"{_RESOURCES['bucket_changes']}?bucket_id=b&notification_end_point=http://127.0.0.1:{free_port()}/"
    registered = theirs.ask("POST", f"/_rest_/{target}")
    theirs.close()
    assert registered.status == 201, registered
    registration = registered.xml.findtext("Id") or ""
    assert registered.xml.findtext("UserId") == made.findtext("Id")
    bench.wire.ask("PUT", "/b/a", b"x")
    _failed(bench, "bucket_changes", registration, 1)
    assert bench.wire.ask("DELETE", "/_rest_/user/passing").status == 204
    assert bench.wire.ask("GET", f"/_rest_/{_RESOURCES['bucket_changes']}/{registration}").status == 404
    _settled(bench)


def test_what_waits_is_sent_after_a_restart(tmp_path: Path, build: Build) -> None:
    """The receiver refuses when the job ends, and takes it when the appliance is there again."""
    answers = iter((500, 200))
    with Receiver(lambda _: next(answers)) as receiver:
        bench = build(ManualClock(1_800_000_000.0), directory=str(tmp_path))
        registration = _register(bench, "job_completed", receiver.url)
        bench.wire.put_all("b", {"a": b"x"})
        first = receiver.next()
        _failed(bench, "job_completed", registration, 1)
        bench.appliance.close()
        again = build(ManualClock(1_800_000_001.0), directory=str(tmp_path), bucket=None)
        assert receiver.next().body == first.body
        _settled(again)
        assert _shown(again, "job_completed", registration)["NumberOfFailuresSinceLastSuccess"] == "0"


def test_changes_of_a_bucket_that_nobody_was_told_are_told_after_a_restart(tmp_path: Path, build: Build) -> None:
    """The appliance ends after a change, before it has looked for whom that is: the next start looks."""
    with Receiver() as receiver:
        bench = build(directory=str(tmp_path))
        _register(bench, "bucket_changes", receiver.url)
        bench.appliance.machine.notifications.close()
        assert bench.wire.ask("PUT", "/b/a", b"x").status == 200
        last = bench.appliance.machine.history.last
        bench.appliance.close()
        build(directory=str(tmp_path), bucket=None)
        assert receiver.next().text("LastProcessedEvent") == str(last)


_SERVE = """
import sys
from ds3tool.simulator import Appliance, ApplianceSettings
appliance = Appliance(ApplianceSettings(directory=sys.argv[1], persist_delay=0.0, access_key="mine", secret_key="key"))
appliance.start()
print(appliance.endpoint, flush=True)
appliance.serve_forever()
"""


def test_a_notice_outlives_the_death_of_the_appliance(tmp_path: Path, build: Build) -> None:
    """Killed while the receiver has not answered: the same notice comes again after the next start."""
    with Receiver(lambda _: None) as silent:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        try:
            assert process.stdout is not None
            endpoint = process.stdout.readline().strip()
            wire = Wire(endpoint, "mine", "key")
            assert wire.ask("PUT", "/b").status == 200
            target = (
                f"/_rest_/job_created_notification_registration?notification_end_point={quote(silent.url, safe='')}"
            )
            assert wire.ask("POST", target).status == 201
            job = wire.start_put("b", {"a": 1}).xml.attrib["JobId"]
            wire.close()
            first = silent.next()
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        silent.answer = lambda _: 200
        bench = build(directory=str(tmp_path), bucket=None)
        again = silent.next()
        assert (again.text("JobId"), again.body) == (job, first.body)
        _settled(bench)


def test_an_appliance_that_nobody_registered_with_starts_no_thread_for_it(bench: Bench) -> None:
    """Jobs come and go, and nothing is written down for anybody."""
    bench.wire.put_all("b", {"a": b"x"})
    bench.until_persisted()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ds3-notice")]
    assert bench.appliance.machine.store.db.execute("SELECT max(n) FROM notices").fetchone() == (None,)
