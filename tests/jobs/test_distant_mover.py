"""Objects of S3 go to the appliance without a file in between: read once, verified on both sides, never half."""

from __future__ import annotations

import os
import re
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ds3tool.aws.session import AwsSettings
from ds3tool.errors import ChecksumError, FarSideDeniedError, FarSideUnreachableError, InterruptedRunError, SourceError
from ds3tool.jobs import distant_mover
from ds3tool.jobs.engine import DEFAULT_LANES, EngineSettings
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.integrity import ChecksumChoice
from ds3tool.jobs.recorder import MemoryRecorder
from ds3tool.jobs.run import RunResult
from ds3tool.protocol.model import ChecksumType, JobStatus
from ds3tool.simulator import Quirk
from ds3tool.sources.local import LocalSource
from ds3tool.sources.s3 import S3Source
from ds3tool.sources.several import SeveralSources
from tests.far.servers import FarSide
from tests.jobs.doubles import SwiftClock
from tests.jobs.interrupted import Moment, Work
from tests.jobs.rooms import BUCKET, MIB, Meddler, Room
from tests.sources.s3_double import Raw, S3Double, Stored, refusal

FILM = os.urandom(3 * MIB + 17)
OBJECTS = {"film": FILM, "small": b"small", "one blob": os.urandom(MIB), "empty": b"", "folder/": b""}
LONG = 60.0  # how long a test waits for what must happen, before it fails


@pytest.fixture(params=["held", "passing"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How blobs go: held in memory until they are sent, or digested as they pass."""
    if request.param == "passing":
        _let_all_pass(monkeypatch)
    return str(request.param)


def _let_all_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distant_mover, "HELD_BYTES", 100)


@pytest.fixture
def meddler(room: Room) -> Iterator[Meddler]:
    """Somebody between a client and the appliance."""
    meddler = Meddler(room.appliance)
    yield meddler
    meddler.close()


def source_of(s3: S3Double, **options: Any) -> S3Source:  # noqa: ANN401  # as those of an S3Source
    given = {"base": "", "prefix": "", "connect": lambda: s3, "clock": SwiftClock(), **options}
    return S3Source(AwsSettings(), "b", **given)


def put(room: Room, s3: S3Double, *, endpoint: str | None = None, retry_seconds: float = 30.0) -> RunResult:
    with room.connect(endpoint, retry_seconds=retry_seconds) as client:
        return room.put_run(source_of(s3), client=client).run()


def fetched(room: Room, tmp_path: Path) -> dict[str, bytes]:
    """Return what is on the appliance, got into a folder."""
    assert room.get(tmp_path / "back").exit_code == 0
    found = {}
    for path in (tmp_path / "back").rglob("*"):
        name = str(path.relative_to(tmp_path / "back"))
        found[name + "/" * path.is_dir()] = b"" if path.is_dir() else path.read_bytes()
    return found


def read_bytes(s3: S3Double) -> Counter[str]:
    """Return how many bytes of each object were asked for."""
    read: Counter[str] = Counter()
    for name, asked in s3.asked:
        if name == "get_object":
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.get("Range", ""))
            whole = len(s3.objects[asked["Key"]].data)
            read[asked["Key"]] += whole if match is None else int(match[2]) - int(match[1]) + 1
    return read


def only_error(result: RunResult) -> Exception:
    (failure,) = result.failures
    return failure.error


# -- all goes well ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ChecksumType.MD5, ChecksumType.CRC_32C, ChecksumType.SHA_256])
def test_objects_arrive_to_the_byte_and_are_read_once(
    room_with: Callable[..., Room], tmp_path: Path, way: str, kind: ChecksumType
) -> None:
    """Small, large and empty ones, and a folder, whatever chunk comes first; no byte is asked for twice."""
    assert way
    room = room_with(shuffle=True, seed=3, chunk_size=MIB, cache_size=4 * MIB, checksum_type=kind)
    s3 = S3Double(OBJECTS)
    result = put(room, s3)
    assert (result.exit_code, result.objects, result.bytes) == (0, 5, sum(map(len, OBJECTS.values())))
    assert result.notes == []
    assert fetched(room, tmp_path) == OBJECTS
    assert read_bytes(s3) == {key: len(data) for key, data in OBJECTS.items()}
    assert None not in room.recorder.checksums.values()
    assert all(raw.closed for raw in s3.raws)


def test_what_s3_keeps_with_an_object_is_stored_with_it(room: Room, way: str) -> None:
    """Content type, user metadata and tags are the object's metadata, beside the user's own words."""
    assert way
    said = {"ContentType": "video/mp4", "CacheControl": "no-store", "Metadata": {"camera": "7", "ds3-mode": "100644"}}
    s3 = S3Double({"film": Stored(FILM, said, {"team": "a b"})})
    room.settings = replace(room.settings, metadata={"project": "x"})
    assert put(room, s3).exit_code == 0
    metadata = dict(room.client.head_object(BUCKET, "film").metadata)
    assert re.fullmatch("[0-9a-f]{32}", metadata.pop("ds3tool-etag"))
    assert metadata == {
        "ds3tool-content-type": "video/mp4",
        "ds3tool-cache-control": "no-store",
        "ds3tool-tags": "team=a b",
        "ds3tool-last-modified": "2024-02-03T04:05:06+00:00",
        "camera": "7",
        "ds3-mode": "100644",
        "project": "x",
    }


@pytest.mark.parametrize("name", ["seaweed", "moto"])
def test_a_real_bucket_goes_to_the_appliance(
    room: Room, tmp_path: Path, name: str, request: pytest.FixtureRequest
) -> None:
    """From a real service, through the settings as a user has them, by many threads."""
    far: FarSide = request.getfixturevalue(name)
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    for variable, value in far.environ.items():
        monkeypatch.setenv(variable, value)
    objects = {f"in/{number:02}": bytes([number]) * number * 99 for number in range(20)} | {"in/film": FILM}
    source = S3Source(AwsSettings(), far.bucket(objects), base="in/", prefix="")
    result = room.put(source)
    assert (result.exit_code, result.objects, result.notes) == (0, 21, [])
    assert fetched(room, tmp_path) == {key[3:]: data for key, data in objects.items()}


def test_a_policy_that_demands_digests_ahead_has_blobs_read_twice(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too large to be held is digested first; by two requests for a blob, not one for each piece of it."""
    _let_all_pass(monkeypatch)
    policy = room.client.get_bucket(BUCKET).data_policy_id
    room.client.modify_data_policy(policy, end_to_end_crc_required=True)
    s3 = S3Double({"film": FILM})
    assert put(room, s3).exit_code == 0
    assert fetched(room, tmp_path) == {"film": FILM}
    # The first piece of a blob, what is read on from there, and all of it to be sent; the last few bytes are held.
    assert s3.names().count("get_object") == 3 * 3 + 1


def test_a_digest_of_the_whole_object_is_stored_with_it(room: Room, tmp_path: Path) -> None:
    """`--checksum sha256`: of an object of several blobs, which is read twice for it, and of one in memory."""
    import hashlib

    room.settings = replace(room.settings, checksum=ChecksumChoice.SHA256)
    s3 = S3Double(OBJECTS)
    assert put(room, s3).exit_code == 0
    for key in ("film", "small"):
        digest = hashlib.sha256(OBJECTS[key]).hexdigest()
        assert room.client.head_object(BUCKET, key).metadata["ds3tool-sha256"] == digest
    assert fetched(room, tmp_path) == OBJECTS
    assert read_bytes(s3)["small"] == len(OBJECTS["small"])


def test_without_digests_nothing_is_compared(room: Room, tmp_path: Path, way: str) -> None:
    """`--checksum none` holds here too."""
    assert way
    room.settings = replace(room.settings, checksum=ChecksumChoice.NONE)
    assert put(room, S3Double(OBJECTS)).exit_code == 0
    assert set(room.recorder.checksums.values()) == {None}
    room.settings = replace(room.settings, checksum=ChecksumChoice.AUTO)
    assert fetched(room, tmp_path) == OBJECTS


def test_files_and_objects_go_in_one_run(room: Room, tmp_path: Path, way: str) -> None:
    """Of several sources each has its own way."""
    assert way
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(FILM[::-1])
    both = SeveralSources([LocalSource(str(tmp_path / "tree"), prefix=""), source_of(S3Double(OBJECTS))])
    assert room.put(both).exit_code == 0
    assert fetched(room, tmp_path) == {**OBJECTS, "file": FILM[::-1]}


def test_more_objects_are_read_at_once_than_files_would_be(room: Room) -> None:
    """Unless somebody says how many, as many are on their way as there would be connections for small files."""
    room.settings = replace(room.settings, engine=EngineSettings())
    s3 = S3Double({f"{number:03}": b"x" for number in range(DEFAULT_LANES)})
    together = threading.Barrier(DEFAULT_LANES)

    def meet(name: str, _: Mapping[str, Any]) -> None:
        if name == "get_object":
            together.wait(LONG)

    s3.before = meet
    assert put(room, s3).exit_code == 0
    assert EngineSettings.of(3).for_distant == EngineSettings(3, 3)


# -- the appliance, or the way to it, is at fault -----------------------------------------------------------------


class Damage:
    """Changes one byte of `marker` the first `times` it passes."""

    def __init__(self, marker: bytes, times: int) -> None:
        self._marker = marker
        self._times = times
        self._lock = threading.Lock()

    def __call__(self, data: bytes) -> bytes:
        with self._lock:
            if self._marker in data and self._times:
                self._times -= 1
                return data.replace(self._marker, bytes([self._marker[0] ^ 1]) + self._marker[1:])
        return data


def test_a_held_blob_that_arrives_damaged_is_sent_again(room: Room, meddler: Meddler, tmp_path: Path) -> None:
    """The appliance refuses it by its digest, which went ahead; S3 is not asked again."""
    s3 = S3Double({"film": FILM})
    meddler.to_appliance = Damage(FILM[100:132], 1)
    assert put(room, s3, endpoint=meddler.endpoint).exit_code == 0
    assert fetched(room, tmp_path) == {"film": FILM}
    assert read_bytes(s3) == {"film": len(FILM)}


@pytest.mark.parametrize("echo", [True, False], ids=["echo", "no echo"])
def test_a_blob_that_arrives_damaged_is_an_integrity_failure(
    room: Room, meddler: Meddler, monkeypatch: pytest.MonkeyPatch, *, echo: bool
) -> None:
    """The appliance states the digest of what has passed, in its reply or beside the object: exit 5, nothing stays."""
    _let_all_pass(monkeypatch)
    s3 = S3Double({"film": FILM, "small": b"small"})
    meddler.to_appliance = Damage(FILM[100:132], 1000)
    if not echo:
        meddler.to_client = _without_echo
    result = put(room, s3, endpoint=meddler.endpoint)
    assert isinstance(only_error(result), ChecksumError)
    assert result.exit_code == 5
    room.until_idle()
    assert room.listed() == {"small"}


def _without_echo(data: bytes) -> bytes:
    """Take the digest out of replies to PUT, as an appliance that does not echo it; HEAD still tells it."""
    if data.startswith(b"HTTP/1.1 200") and b"Content-Length: 0" in data:
        return b"".join(line for line in data.splitlines(keepends=True) if not line.startswith(b"Content-MD5:"))
    return data


def test_an_appliance_that_echoes_no_digest_is_asked_for_them_all(
    room: Room, meddler: Meddler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What HEAD states is held against what has passed, and recorded as proved."""
    _let_all_pass(monkeypatch)
    meddler.to_client = _without_echo
    assert put(room, S3Double(OBJECTS), endpoint=meddler.endpoint).exit_code == 0
    assert fetched(room, tmp_path) == OBJECTS
    assert None not in room.recorder.checksums.values()


@pytest.mark.parametrize("damaged", [False, True])
def test_what_was_not_proved_before_a_kill_is_proved_by_the_resume(
    room: Room, meddler: Meddler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, damaged: bool
) -> None:
    """Recorded digests of a process that is gone are held against the appliance's once the object is whole."""
    _let_all_pass(monkeypatch)
    meddler.to_client = _without_echo
    room.settings = replace(room.settings, engine=EngineSettings(1, 1))
    s3 = S3Double({"film": FILM})
    if damaged:
        meddler.to_appliance = Damage(FILM[100:132], 1000)
    with room.connect(meddler.endpoint) as client:
        work = Work(room, tmp_path / "work", tmp_path, client=client, source=source_of(s3))
        assert work.put(dies=Moment("moved", 1, after=True)) is None
        assert work.recorded()
        work.source = source_of(s3)
        result = work.resume()
    if damaged:
        assert isinstance(only_error(result), ChecksumError)
        room.until_idle()
        assert room.listed() == set()
    else:
        assert (result.failures, result.exit_code) == ([], 0)
        assert fetched(room, tmp_path) == {"film": FILM}


def test_what_no_appliance_states_is_not_put(room_with: Callable[..., Room], monkeypatch: pytest.MonkeyPatch) -> None:
    """An appliance that states no digest at all gets only what digests can go ahead of: the rest fails by name."""
    _let_all_pass(monkeypatch)
    room = room_with(quirks=frozenset({Quirk.NO_HEAD_DIGESTS}))
    meddler = Meddler(room.appliance)
    meddler.to_client = _without_echo
    try:
        result = put(room, S3Double({"film": FILM, "small": b"small"}), endpoint=meddler.endpoint)
    finally:
        meddler.close()
    assert "nobody knows that it is whole" in str(only_error(result))
    room.until_idle()
    assert room.listed() == {"small"}


class Cut:
    """Closes the connection once, when `marker` is about to pass."""

    def __init__(self, marker: bytes) -> None:
        self._marker = marker
        self.cut = 0

    def __call__(self, data: bytes) -> bytes | None:
        if self._marker in data and not self.cut:
            self.cut += 1
            return None
        return data


def test_a_cut_connection_is_mended(room: Room, meddler: Meddler, tmp_path: Path, way: str) -> None:
    """The blob goes again from its start: from memory, or read again from S3."""
    assert way
    s3 = S3Double({"film": FILM})
    meddler.to_appliance = cut = Cut(FILM[MIB + 500_000 : MIB + 500_032])
    assert put(room, s3, endpoint=meddler.endpoint).exit_code == 0
    assert cut.cut == 1
    assert fetched(room, tmp_path) == {"film": FILM}
    assert read_bytes(s3)["film"] == len(FILM) + (MIB if way == "passing" else 0)


def test_a_lost_reply_is_asked_after(room: Room, meddler: Meddler, tmp_path: Path, way: str) -> None:
    """The appliance has the blob, which is found out without reading or sending it again."""
    assert way
    seen: list[str] = []
    lock = threading.Lock()

    def to_appliance(passing: bytes) -> bytes:
        if b"offset=%d " % MIB in passing and passing.startswith(b"PUT"):
            with lock:
                seen.append("request")
        return passing

    def to_client(passing: bytes) -> bytes | None:
        if passing.startswith(b"HTTP/1.1 200") and b"Content-Length: 0" in passing:
            with lock:
                if seen == ["request"]:
                    seen.append("reply")
                    return None
        return passing

    meddler.to_appliance, meddler.to_client = to_appliance, to_client
    room.settings = replace(room.settings, engine=EngineSettings(1, 1))
    s3 = S3Double({"film": FILM})
    assert put(room, s3, endpoint=meddler.endpoint).exit_code == 0
    assert seen[:2] == ["request", "reply"]
    assert fetched(room, tmp_path) == {"film": FILM}
    assert read_bytes(s3) == {"film": len(FILM)}
    assert None not in room.recorder.checksums.values()


# -- S3, or the way from it, is at fault --------------------------------------------------------------------------


def test_a_reading_that_breaks_off_goes_on_in_the_middle_of_a_blob(room: Room, tmp_path: Path, way: str) -> None:
    """The connection to the appliance waits for the rest, and all arrives once."""
    assert way
    s3 = S3Double(OBJECTS)
    s3.spoil = lambda _, data: Raw(data, len(data) // 2 if len(data) > 300_000 else None, breaks=True)
    result = put(room, s3)
    assert (result.exit_code, result.failures) == (0, [])
    assert fetched(room, tmp_path) == OBJECTS


@pytest.mark.parametrize("blob_size", [MIB, 8 * MIB])
def test_bytes_that_s3_does_not_vouch_for_are_not_archived(
    room_with: Callable[..., Room], way: str, blob_size: int
) -> None:
    """One bit that flips between S3 and us: the object fails, naming both digests, and the others are put."""
    assert way
    room = room_with(blob_size=blob_size, chunk_size=8 * MIB)
    s3 = S3Double(OBJECTS)
    middle = FILM[MIB + 50 : MIB + 82]
    s3.spoil = lambda _, data: Raw(data.replace(middle, bytes([middle[0] ^ 1]) + middle[1:]))
    result = put(room, s3)
    assert "other bytes than it states" in str(only_error(result))
    assert (result.exit_code, result.objects) == (3, 4)
    room.until_idle()
    assert room.listed() == OBJECTS.keys() - {"film"}


@pytest.mark.parametrize("what", ["replaced", "deleted"])
def test_an_object_that_changes_while_it_is_put_is_not_archived(room: Room, way: str, what: str) -> None:
    """Once its first blob has been read it becomes another one, or goes: it fails by name, and nothing of it stays."""
    assert way
    s3 = S3Double(OBJECTS)
    room.settings = replace(room.settings, engine=EngineSettings(1, 1))

    def change(asked: dict[str, Any], data: bytes) -> Raw:
        if asked["Key"] == "film" and what == "replaced":
            s3.objects["film"] = Stored(FILM[::-1])
        elif asked["Key"] == "film":
            del s3.objects["film"]
        return Raw(data)

    s3.spoil = change
    result = put(room, s3)
    assert isinstance(only_error(result), SourceError)
    assert "s3://b/film" in str(only_error(result))
    room.until_idle()
    assert room.listed() == OBJECTS.keys() - {"film"}


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (refusal("ExpiredToken", 400), FarSideDeniedError, 6),
        (refusal("SlowDown", 503), FarSideUnreachableError, 7),
    ],
)
def test_credentials_that_expire_leave_the_job_to_a_resume(
    room: Room, tmp_path: Path, way: str, error: Exception, kind: type[Exception], code: int
) -> None:
    """Nobody answers us any more after some blobs: the run ends and says that it is S3, and a resume sends the rest."""
    assert way
    objects = {**OBJECTS, **{f"{number:02}": bytes([number]) * 50_000 for number in range(30)}}
    s3 = S3Double(objects)
    with room.connect(retry_seconds=0.0) as client:
        work = Work(room, tmp_path / "work", tmp_path, client=client, source=source_of(s3))
        gets = iter(range(12))

        def refuse(name: str, _: Mapping[str, Any]) -> None:
            if name != "list_objects_v2" and next(gets, None) is None:
                raise error

        s3.before = refuse
        result = work.put()
        assert result is not None
        assert result.exit_code == code
        assert isinstance(result.stopped, kind)
        assert "s3://b/" in str(result.stopped)
        assert work.unfinished == 1
        assert room.client.get_job(result.jobs[0].job.id).job.status == JobStatus.IN_PROGRESS
        moved = result.objects
        s3.before = lambda name, asked: None
        work.source = source_of(s3)
        again = work.resume()
    assert (again.failures, again.exit_code, again.objects + moved) == ([], 0, len(objects))
    assert fetched(room, tmp_path) == objects


def test_a_put_that_was_killed_reads_only_what_is_missing(room: Room, tmp_path: Path, way: str) -> None:
    """A new process goes on with the names that were kept, and asks S3 for no object that has arrived."""
    assert way
    objects = {**OBJECTS, **{f"{number:02}": bytes([number]) * 50_000 for number in range(30)}}
    s3 = S3Double(objects)
    room.settings = replace(room.settings, engine=EngineSettings(2, 2))
    work = Work(room, tmp_path / "work", tmp_path, source=source_of(s3))
    assert work.put(dies=Moment("moved", 3, after=True)) is None
    recorded = work.recorded()
    room.client.get_job(work.remainders()[0].job_id or "")
    s3.asked.clear()
    work.source = source_of(s3)
    result = work.resume()
    assert (result.failures, result.exit_code) == ([], 0)
    assert "list_objects_v2" not in s3.names()
    small = {key for key, offset in recorded if not offset and len(objects[key]) <= MIB}
    assert small
    assert not small & set(read_bytes(s3))
    assert fetched(room, tmp_path) == objects


def test_a_reading_that_hangs_ends_when_the_run_does(room: Room, way: str) -> None:
    """Ctrl-C while S3 sends nothing: the run ends with 130, no thread is left, and nothing half is kept."""
    assert way
    s3 = S3Double({"film": FILM, "small": b"small"})
    hanging = Raw(FILM[:MIB], MIB // 2, waits=True)
    s3.spoil = lambda asked, data: hanging if asked.get("Range") == f"bytes=0-{MIB - 1}" else Raw(data)

    class Interrupting(MemoryRecorder):
        def tick(self) -> None:
            if hanging.waiting.is_set():
                raise KeyboardInterrupt

    room.recorder = Interrupting()
    result = put(room, s3)
    assert isinstance(result.stopped, InterruptedRunError)
    assert result.exit_code == 130
    room.until_idle()
    assert "film" not in room.listed()


# -- what is there already ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ChecksumType.MD5, ChecksumType.CRC_32C])
def test_what_is_there_already_is_known_without_being_read(room_with: Callable[..., Room], kind: ChecksumType) -> None:
    """A second put skips all of it and asks S3 for no object; a changed one is another, and fails by name."""
    room = room_with(checksum_type=kind)
    s3 = S3Double(OBJECTS)
    assert put(room, s3).objects == 5
    s3.asked.clear()
    again = put(room, s3)
    assert (again.skipped, again.objects, again.exit_code) == (5, 0, 0)
    assert s3.names() == ["list_objects_v2"]
    s3.objects["film"] = Stored(FILM[::-1])
    changed = put(room, s3)
    assert (changed.skipped, [failure.key for failure in changed.failures]) == (4, ["film"])
    assert "get_object" not in s3.names()


def test_what_others_have_put_is_compared_by_what_s3_states(room_with: Callable[..., Room], tmp_path: Path) -> None:
    """Files that were put from a disk, in several blobs, are the same as the objects by their CRCs alone."""
    room = room_with(checksum_type=ChecksumType.CRC_32)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "film").write_bytes(FILM)
    (tmp_path / "tree" / "other").write_bytes(FILM)
    assert room.put(tmp_path / "tree").objects == 2
    s3 = S3Double({"film": FILM, "other": FILM[::-1]})
    result = put(room, s3)
    assert (result.skipped, [failure.key for failure in result.failures]) == (1, ["other"])
    assert "get_object" not in s3.names()


def test_credentials_that_expire_while_it_is_compared_end_the_run(room_with: Callable[..., Room]) -> None:
    """That S3 does not know us any more is no failure of the object that it was asked about."""
    room = room_with(checksum_type=ChecksumType.CRC_32)
    s3 = S3Double({"film": FILM, "other": FILM})
    assert put(room, s3).objects == 2
    for key in s3.objects:
        s3.objects[key] = Stored(FILM[::-1])
    s3.before = _expired
    with pytest.raises(FarSideDeniedError, match="s3://b/film"):
        put(room, s3)


def _expired(name: str, _: Mapping[str, Any]) -> None:
    if name != "list_objects_v2":
        raise refusal("ExpiredToken", 400)


def test_keys_that_are_too_long_fail_by_name(room: Room) -> None:
    """A key of S3 may leave no room for the prefix that it is put under: it fails, and the others are put."""
    s3 = S3Double({"k" * 1024: b"1", "fine": b"2"})
    result = room.put(source_of(s3, prefix="in/"))
    assert "1024 bytes" in str(only_error(result))
    assert room.listed() == {"in/fine"}


def test_overwriting_reads_the_object_before_it_deletes_the_old_one(room: Room, tmp_path: Path) -> None:
    """The old object goes only once the new one could be read whole."""
    s3 = S3Double({"film": FILM})
    assert put(room, s3).objects == 1
    s3.objects["film"] = Stored(FILM[::-1])
    room.settings = replace(room.settings, if_exists=IfExists.OVERWRITE, may_delete=True)
    s3.before = _gone
    assert put(room, s3).exit_code == 3
    assert fetched(room, tmp_path) == {"film": FILM}
    s3.before = lambda name, asked: None
    assert put(room, s3).objects == 1
    assert room.listed() == {"film"}
    (listed,) = room.client.list_objects(BUCKET)
    assert listed.size == len(FILM)
    crc = zlib.crc32(FILM[::-1])
    assert zlib.crc32(fetched(room, tmp_path / "again")["film"]) == crc


def _gone(name: str, _: Mapping[str, Any]) -> None:
    if name == "get_object":
        raise refusal("AccessDenied", 403)
