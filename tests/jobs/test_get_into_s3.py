"""Whole gets from an appliance into real S3 servers: what is there afterwards, whatever happens on the way."""

from __future__ import annotations

import _thread
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ds3tool.aws.session import AwsSettings
from ds3tool.errors import Ds3Error, FarSideDeniedError, FarSideUnreachableError
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.get import GetRun
from ds3tool.jobs.get_targets import Asked, Wanted
from ds3tool.jobs.journal import Journal, WorkHead
from ds3tool.jobs.run import RunResult, RunSettings
from ds3tool.protocol.model import JobType
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sinks.s3 import S3Sink
from ds3tool.sinks.s3_requests import S3Requests
from ds3tool.sinks.s3_uploads import uploads_left
from ds3tool.transport.bodies import BytesBody
from tests.far.servers import FarSide
from tests.jobs.rooms import BUCKET, MIB, Room

WORK = "work-1"
LARGE = 17 * MIB + 5


@pytest.fixture(params=[pytest.param("seaweed", marks=pytest.mark.more), "moto"])
def far(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FarSide:
    """The S3 server that takes any key, as whoever asks boto3 finds it; `make test-more` tries the other as well."""
    return found(request.getfixturevalue(request.param), monkeypatch)


@pytest.fixture(params=["seaweed", "moto"])
def each(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FarSide:
    """Each S3 server."""
    return found(request.getfixturevalue(request.param), monkeypatch)


@pytest.fixture
def strict(seaweed: FarSide, monkeypatch: pytest.MonkeyPatch) -> FarSide:
    """The S3 server that is strict about digests."""
    return found(seaweed, monkeypatch)


def found(far: FarSide, monkeypatch: pytest.MonkeyPatch) -> FarSide:
    """Let boto3 find a server."""
    for name, value in far.environ.items():
        monkeypatch.setenv(name, value)
    return far


def bytes_of(name: str, size: int) -> bytes:
    """Return an object's bytes."""
    return random.Random(f"{name} {size}").randbytes(size)


def stored(room: Room, tmp_path: Path, sizes: dict[str, int]) -> dict[str, bytes]:
    """Put objects of these sizes; those whose names no folder can hold beside the others go one by one."""
    objects = {name: bytes_of(name, size) for name, size in sizes.items()}
    tree = tmp_path / "put"
    for name, data in objects.items():
        if len(data) <= MIB:
            room.client.put_object(BUCKET, name, BytesBody(data))
        else:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(data)
    if tree.exists():
        assert room.put(tree).exit_code == 0
    return objects


@dataclass
class Landed:
    """Gets of one piece of work into a bucket of S3, with a journal."""

    room: Room
    far: FarSide
    state: Path
    prefix: str = ""
    settings: RunSettings | None = None
    wanted: Iterable[Asked] | None = None
    bucket: str = field(default="")

    def __post_init__(self) -> None:
        self.bucket = self.bucket or self.far.bucket()

    def run(self, act: Callable[[GetRun, Journal], RunResult], journal: Journal) -> RunResult:
        """Let one process work."""
        aws = AwsSettings(endpoint=self.far.endpoint)
        with journal, contextlib.closing(S3Sink(aws, self.bucket, self.prefix, token=WORK, state=self.state)) as sink:
            wanted = self.room.client.list_objects(BUCKET) if self.wanted is None else self.wanted
            run = GetRun(
                self.room.client,
                sink,
                BUCKET,
                wanted,
                name_of=str,
                settings=self.settings or self.room.settings,
                recorder=journal,
            )
            return act(run, journal)

    def get(self) -> RunResult:
        """Begin the work, all of it anew."""
        for journal in self.state.rglob(f"{WORK}.db*"):
            journal.unlink()
        head = WorkHead(WORK, JobType.GET, BUCKET, "id", begun=datetime.now(UTC))
        return self.run(lambda run, _: run.run(), Journal.create(str(self.state), head))

    def resume(self) -> RunResult:
        """Go on with it."""
        path = next(self.state.rglob(f"{WORK}.db"))
        return self.run(lambda run, journal: run.resume(journal.remainders()), Journal.open(str(path)))

    def has(self, objects: dict[str, bytes]) -> bool:
        """Whether just these objects are there, and nothing is unfinished or remembered as such."""
        clean = not self.far.uploads(self.bucket) and not uploads_left(self.state, WORK)
        return clean and self.far.contents(self.bucket) == {self.prefix + key: data for key, data in objects.items()}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A folder where journals and records of uploads are."""
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


MIXED = {"a": 10, "a/b": 11, "folder/": 0, "empty": 0, "x y+ä%": 300_000, "mid/film": 3 * MIB + 1, "large": LARGE}


def test_a_bucket_goes_to_s3(room: Room, each: FarSide, tmp_path: Path, state: Path) -> None:
    """Objects of every kind arrive below a prefix byte for byte, though bytes are damaged and cut off on the way."""
    objects = stored(room, tmp_path, MIXED)
    room.appliance.faults.set("corrupt-get", 0.5, most=1)  # a second try may not be damaged as well
    room.appliance.faults.set("short-get", 0.3, most=3)
    work = Landed(room, each, state, "to/")
    result = work.get()
    assert [str(failure.error) for failure in result.failures] == []
    assert (result.exit_code, result.objects, result.unverified) == (0, len(MIXED), 0)
    assert work.has(objects)


def test_what_is_there_and_the_same_is_skipped_unread(
    room: Room, strict: FarSide, tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second get fetches nothing, and reads nothing back of what S3 vouches for by the appliance's kind of digest."""
    objects = stored(room, tmp_path, {"a": 10, "b": 300_000})
    work = Landed(room, strict, state)
    assert work.get().objects == 2

    def read_existing(*_: Any) -> bytes:  # noqa: ANN401  # however it is called
        raise AssertionError("bytes were read back")

    monkeypatch.setattr(S3Sink, "read_existing", read_existing)
    again = work.get()
    assert (again.exit_code, again.skipped, again.objects) == (0, 2, 0)
    assert work.has(objects)


def test_what_is_there_and_vouched_for_otherwise_is_read(room: Room, far: FarSide, tmp_path: Path, state: Path) -> None:
    """Of an object of several blobs, S3 states no digest that the appliance has: its bytes tell that it is the same."""
    objects = stored(room, tmp_path, {"film": 2 * MIB + 5})
    work = Landed(room, far, state)
    assert work.get().objects == 1
    again = work.get()
    assert (again.exit_code, again.skipped, again.objects) == (0, 1, 0)
    far.client().put_object(Bucket=work.bucket, Key="film", Body=objects["film"][:-1] + b"x")
    assert [one.error.exit_code for one in work.get().failures] == [3]


@pytest.mark.parametrize(
    "rule", [IfExists.SKIP_SAME, IfExists.SKIP, IfExists.OVERWRITE, IfExists.RENAME, IfExists.FAIL]
)
def test_the_rules_for_what_is_there(room: Room, far: FarSide, tmp_path: Path, state: Path, rule: IfExists) -> None:
    """What has the key and is another stays, is replaced, or gets company, as the rule says."""
    (data,) = stored(room, tmp_path, {"film.mov": 1000}).values()
    other = bytes(1000)
    work = Landed(
        room, far, state, settings=replace(room.settings, if_exists=rule), bucket=far.bucket({"film.mov": other})
    )
    result = work.get()
    assert far.contents(work.bucket) == {
        IfExists.OVERWRITE: {"film.mov": data},
        IfExists.RENAME: {"film.mov": other, "film~1.mov": data},
    }.get(rule, {"film.mov": other})
    failed = rule in {IfExists.SKIP_SAME, IfExists.FAIL}
    assert (len(result.failures), result.exit_code) == ((1, 3) if failed else (0, 0))


def test_what_is_stored_with_objects_goes_to_s3(room: Room, far: FarSide, tmp_path: Path, state: Path) -> None:
    """Content type and user metadata, kept on the appliance, stand beside the object in S3 whatever its size."""
    room.settings = replace(room.settings, metadata={"ds3tool-content-type": "video/mp4", "camera": "B"})
    stored(room, tmp_path, {"film": LARGE, "clip": MIB + 1})
    work = Landed(room, far, state)
    assert work.get().exit_code == 0
    for key in ("film", "clip"):
        head = far.client().head_object(Bucket=work.bucket, Key=key)
        assert head["ContentType"] == "video/mp4"
        assert head["Metadata"]["camera"] == "B"


def test_ranges_go_to_s3(room: Room, strict: FarSide, tmp_path: Path, state: Path) -> None:
    """Ranges of an object become an object, in the order in which they were asked for."""
    (data,) = stored(room, tmp_path, {"film": 4 * MIB}).values()
    ranges = (ByteRange(3 * MIB - 5, 3 * MIB + 5), ByteRange(0, 2 * MIB))
    work = Landed(room, strict, state, wanted=[Wanted("film", 4 * MIB, ranges=ranges)])
    assert work.get().exit_code == 0
    assert work.has({"film": data[3 * MIB - 5 : 3 * MIB + 5] + data[: 2 * MIB]})


def test_an_object_that_comes_damaged_leaves_nothing(
    room_with: Callable[..., Room], strict: FarSide, tmp_path: Path, state: Path
) -> None:
    """When its bytes are wrong each time, the object fails, and no part of it stays."""
    room = room_with(blob_size=32 * MIB, chunk_size=32 * MIB, cache_size=96 * MIB)
    stored(room, tmp_path, {"large": LARGE})
    room.appliance.faults.set("corrupt-get", 1.0)
    work = Landed(room, strict, state)
    result = work.get()
    assert result.exit_code == 5
    assert work.has({})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FarSideDeniedError("the token has expired"), 6),
        pytest.param(FarSideUnreachableError("nobody answers"), 7, marks=pytest.mark.more),
    ],
)
def test_losing_s3_in_the_middle_stops_the_run_resumable(
    room: Room,
    strict: FarSide,
    tmp_path: Path,
    state: Path,
    error: Ds3Error,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once S3 knows us no more, or is out of reach, the run ends with that code; resumed, it does the rest."""
    sizes = {f"n/{number:02}": 1000 + number for number in range(20)} | {"large": LARGE}
    objects = stored(room, tmp_path, sizes)
    work = Landed(room, strict, state)
    calls = 0

    def losing(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401  # as what it stands for
            nonlocal calls
            calls += 1
            if calls > 8:
                raise error
            return method(*arguments, **named)

        return call

    with monkeypatch.context() as patched:
        for name in ("put", "part"):
            patched.setattr(S3Requests, name, losing(getattr(S3Requests, name)))
        result = work.get()
    assert result.exit_code == code
    assert type(result.stopped) is type(error)
    assert strict.uploads(work.bucket) == []
    assert 0 < len(strict.contents(work.bucket)) < len(objects)
    again = work.resume()
    assert (again.exit_code, again.failures) == (0, [])
    assert work.has(objects)


def test_an_interrupt_in_the_middle_leaves_no_upload(
    room: Room, strict: FarSide, tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while parts are on their way: nothing of the object stays in S3, and a resumed run has it whole."""
    objects = stored(room, tmp_path, {"large": LARGE, "small": 10})
    work = Landed(room, strict, state)
    part = S3Requests.part

    def interrupting(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401  # as what it stands for
        _thread.interrupt_main()
        return part(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(S3Requests, "part", interrupting)
        with contextlib.suppress(KeyboardInterrupt):  # it may come once more when the run has ended
            assert work.get().exit_code == 130
    assert strict.uploads(work.bucket) == []
    assert work.resume().exit_code == 0
    assert work.has(objects)


_DIES = """
import sys
from pathlib import Path
from ds3tool.client import Ds3Client
from ds3tool.sinks.s3_requests import S3Requests
from ds3tool.transport.settings import ConnectionSettings
from tests.far.servers import FarSide
from tests.jobs.test_get_into_s3 import Landed

def held(*arguments, **named):
    print("parts are sent", flush=True)
    sys.stdin.read()

S3Requests.complete = held

class Elsewhere:
    client = Ds3Client(ConnectionSettings(*sys.argv[1:4]))
    from ds3tool.jobs.run import RunSettings
    settings = RunSettings()

far = FarSide("seaweed", *sys.argv[4:7])
Landed(Elsewhere, far, Path(sys.argv[7]), bucket=sys.argv[8]).get()
"""


def test_after_kill_9_a_resumed_run_has_all_and_leaves_nothing(
    room: Room, strict: FarSide, tmp_path: Path, state: Path
) -> None:
    """Killed when every part of an object had gone, and resumed: the upload is aborted, and the object there."""
    objects = stored(room, tmp_path, {"large": LARGE, "b": 10, "c": 300_000})
    work = Landed(room, strict, state)
    appliance = room.appliance
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", _DIES, appliance.endpoint, appliance.access_key, appliance.secret_key),
            *(strict.endpoint, strict.access_key, strict.secret_key, str(state), work.bucket),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **strict.environ},
        cwd=Path(__file__).parents[2],
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"parts are sent\n"
        process.send_signal(signal.SIGKILL)
    assert strict.uploads(work.bucket) == ["large"]
    result = work.resume()
    assert (result.exit_code, result.failures) == (0, [])
    assert work.has(objects)
