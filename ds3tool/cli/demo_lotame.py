"""`ds3tool demo lotame`: the whole road from Lotame's feeds to tape and back, simulated at both ends, in seconds."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ds3tool.cli import transfer
from ds3tool.cli.demo_story import Story, quiet_results, tell_placement
from ds3tool.cli.output import Field, OutputFormat, counted
from ds3tool.cli.settings import Settings
from ds3tool.clock import RealClock
from ds3tool.errors import Ds3Error
from ds3tool.lazy_dataclass import dataclass
from ds3tool.profiles import Profile
from ds3tool.sizes import format_duration, format_size

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client
    from ds3tool.jobs.run import RunResult
    from ds3tool.lotame.client import LotameClient
    from ds3tool.simulator.lotame.service import LotameSimulator

EXAMPLES = ("ds3tool demo lotame", "ds3tool demo lotame -o json")

_BUCKET = "demo"
_PREFIX = "lotame/"
_MISSING_IN = 9002
_SEED = 1986
_HOURS = 3
_FILES_AN_HOUR = 4
_LINES = 500
_HOUR_SECONDS = 3600.0
_BLOB = 1 << 20


@dataclass(frozen=True, slots=True)
class LotameDemoResult:
    """What the demo did: counts, bytes and seconds."""

    feeds: int
    files: int
    bytes: int
    gaps: int
    tapes: int
    verified: int
    rows: int
    seconds: float


_FIELDS: list[Field[LotameDemoResult]] = [
    Field("feeds", lambda result: result.feeds),
    Field("files", lambda result: result.files),
    Field("bytes", lambda result: result.bytes, text=format_size),
    Field("gaps", lambda result: result.gaps),
    Field("tapes", lambda result: result.tapes),
    Field("verified", lambda result: result.verified),
    Field("rows", lambda result: result.rows),
    Field("seconds", lambda result: round(result.seconds, 1), text=lambda value: f"{value} s"),
]


class _HoursPass(RealClock):
    """This host's clock, that much ahead: a demo does not wait for hours.

    It begins 20 minutes after some hour, when all files of the hours before are there.
    """

    def __init__(self) -> None:
        self.ahead = (_HOUR_SECONDS / 3 - super().time()) % _HOUR_SECONDS

    def time(self) -> float:
        """Seconds since 1970."""
        return super().time() + self.ahead


def demo_lotame(*, settings: Settings) -> None:
    """Archive Lotame's DataStream from a simulated Lotame onto an embedded appliance, get it back, and convert it.

    Needs no account, no appliance and no configuration, a few seconds, and leaves nothing behind.
    """
    from ds3tool.cli.settings import connect
    from ds3tool.simulator import Appliance, ApplianceSettings
    from ds3tool.simulator.lotame.service import LotameSimulator, LotameSimulatorSettings, SimulatedFeed

    story, clock = Story(settings), _HoursPass()
    feeds = (
        SimulatedFeed(9001, "client", "cookie", files_per_hour=_FILES_AN_HOUR, lines=_LINES),
        SimulatedFeed(_MISSING_IN, "3pd", "mobile", files_per_hour=_FILES_AN_HOUR, lines=_LINES),
        SimulatedFeed(9003, "3pd", "cookie", region="eu", empty=True),
    )
    with tempfile.TemporaryDirectory(prefix="ds3tool-demo-") as folder:
        box = ApplianceSettings(
            directory=os.path.join(folder, "appliance"),
            blob_size=_BLOB,
            chunk_size=4 * _BLOB,
            cache_size=64 * _BLOB,
            tapes=3,
            drives=2,
            retry_after=0,
            persist_delay=0.2,
            seed=_SEED,
        )
        told = LotameSimulatorSettings(clock=clock, seed=_SEED, hours=_HOURS, feeds=feeds)
        with Appliance(box) as appliance, LotameSimulator(told) as lotame:
            own = replace(
                quiet_results(settings),
                state_folder=Path(folder) / "state",
                flags=Profile(
                    "demo",
                    endpoint=appliance.endpoint,
                    access_key=appliance.access_key,
                    secret_key=appliance.secret_key,
                ),
            )
            with connect(own) as client:
                result = _Road(client, lotame, clock, folder, story, own).walk(appliance.endpoint)
    story.step("Done")
    if settings.output is OutputFormat.TABLE:
        story.tell(
            f"{result.files:,} files, {format_size(result.bytes)}, went from S3 through planned bulk jobs onto tape, "
            "and came back;"
        )
        story.tell(
            f"{result.verified:,} are the same, byte for byte. All of it took {format_duration(result.seconds)}."
        )
        story.tell("Go on with your own feeds: write ~/lotame.properties, then ds3tool lotame feeds.")
    else:
        settings.results().record(result, _FIELDS)


@dataclass(slots=True)
class _Road:
    """The steps, from one end to the other and back."""

    client: Ds3Client
    lotame: LotameSimulator
    clock: _HoursPass
    folder: str
    story: Story
    settings: Settings

    def walk(self, endpoint: str) -> LotameDemoResult:
        """Take all steps; a Ds3Error when one does not end as it should."""
        started = time.monotonic()
        story, restored = self.story, os.path.join(self.folder, "restored")
        story.step("An appliance and a Lotame, both in this process")
        story.tell(f"the appliance: {endpoint}")
        story.tell(f"Lotame's API:  {self.lotame.base_url}")
        story.tell(f"Lotame's S3:   {self.lotame.s3_endpoint}, which knows only credentials that the API gives out")

        story.step("Which feeds are there: ds3tool lotame feeds")
        feeds = self._feeds()

        story.step("What is new in them: ds3tool lotame updates")
        listed = self._updates(feeds)
        lost = listed[-1]
        self.lotame.remove(_MISSING_IN, lost)  # as it happens: listed, and not there

        story.step(f"Archive it: ds3tool put lotame://all ds3://{_BUCKET}/{_PREFIX}")
        story.tell("Each file goes from S3 straight into a blob of a bulk job: there is no scratch disk.")
        self.client.create_bucket(_BUCKET)
        put = self._put()
        story.tell(transfer.summary(put, done="put"))
        (gap,) = put.failures
        story.tell(f"exit code {put.exit_code}: {gap.error.message}")

        story.step("Two hours later, the same command: one run was missed, and nothing is lost")
        self.clock.ahead += 2 * _HOUR_SECONDS
        later = self._put()
        story.tell(transfer.summary(later, done="put"))
        story.tell("Only what is new was asked of S3; the file that is not there was asked for again, and named.")

        story.step("Wait until every copy is on tape")
        tapes = self._wait_for_tape(put, later)

        story.step(f"Empty the cache, and get it back: ds3tool get ds3://{_BUCKET}/{_PREFIX} restored")
        self.client.reclaim_cache()
        got = self._get(restored)
        story.tell(transfer.summary(got, done="got"))

        story.step("Compare every file with what Lotame has")
        verified, size = self._compare(restored, lost)
        story.tell(f"{verified:,} of {verified:,} are the same")

        story.step("Make a table of them: ds3tool lotame convert restored/.../*.gz -f profiles.csv")
        rows = self._convert(restored)
        return LotameDemoResult(
            feeds=feeds,
            files=verified,
            bytes=size,
            gaps=1,
            tapes=tapes,
            verified=verified,
            rows=rows,
            seconds=time.monotonic() - started,
        )

    def _feeds(self) -> int:
        with self._lotame_client() as client:
            found = client.feeds()
        for feed in found:
            self.story.tell(f"{feed.id}: {feed.type}, {feed.profile_type}")
        return len(found)

    def _updates(self, feeds: int) -> list[str]:
        """Tell what is new; return the names of the files of the feed from which one will be missing."""
        with self._lotame_client() as client:
            answers = [(feed.id, client.updates(feed.id)) for feed in client.feeds()]
        if len(answers) != feeds:
            raise Ds3Error(f"Lotame has {len(answers)} feeds now, and had {feeds}")
        names: list[str] = []
        for number, answer in answers:
            feed = answer.feed(number)
            files = () if feed is None else feed.files
            self.story.tell(f"{number}: {counted(len(files), 'file')}{'' if files else ', which is no mistake'}")
            if number == _MISSING_IN:
                names = list(files)
        self.story.tell(
            "With each answer come credentials for S3 that last an hour; they are asked for just before use."
        )
        return names

    def _lotame_client(self, stopped: threading.Event | None = None) -> LotameClient:
        from ds3tool.lotame.client import LotameClient
        from ds3tool.lotame.settings import LotameSettings

        lotame = self.lotame
        reach = LotameSettings(lotame.token, lotame.access, lotame.client_id, lotame.base_url)
        return LotameClient(reach, stopped=stopped)

    def _put(self) -> RunResult:
        from ds3tool.aws.session import AwsSettings
        from ds3tool.cli.accounts import held
        from ds3tool.cli.journalled import Doing
        from ds3tool.cli.put import put_objects
        from ds3tool.jobs.run import RunSettings
        from ds3tool.lotame.watermark import Watermarks
        from ds3tool.protocol.model import JobType
        from ds3tool.sources.lotame import LotamePlace, LotameSource

        place = LotamePlace(
            self._lotame_client,
            lambda: Watermarks.open(self.settings.state_path, f"ds3://{_BUCKET}/{_PREFIX}"),
            AwsSettings(None, self.lotame.s3_endpoint, "us-east-1"),
        )
        source = LotameSource(place, feed=None, prefix=_PREFIX)
        doing = Doing("demo", JobType.PUT, _BUCKET)
        result, _ = put_objects(self.client, held(source), doing, RunSettings(), self.settings)
        if result.stopped is not None or len(result.failures) != 1:
            raise Ds3Error(f"the put failed: {result.stopped or [one.error.message for one in result.failures]}")
        return result

    def _wait_for_tape(self, *puts: RunResult) -> int:
        for put in puts:
            transfer.wait_for_tape(self.client, put, self.settings)
            if put.stopped is not None:
                raise put.stopped
        return len(tell_placement(self.client, _BUCKET, self.story))

    def _get(self, target: str) -> RunResult:
        from ds3tool.jobs.get import GetRun
        from ds3tool.jobs.run import RunSettings
        from ds3tool.sinks.local import LocalSink

        with contextlib.closing(LocalSink(target)) as sink:
            listed = self.client.list_objects(_BUCKET, prefix=_PREFIX)
            run = GetRun(
                self.client,
                sink,
                _BUCKET,
                listed,
                name_of=lambda key: key.removeprefix(_PREFIX),
                settings=RunSettings(),
            )
            result = transfer.carry_out(run, self.settings, label="get")
        if result.exit_code:
            raise Ds3Error(f"the restore failed: {result.stopped or result.failures[0].error}")
        return result

    def _compare(self, restored: str, lost: str) -> tuple[int, int]:
        """Hold every file of Lotame's against what was restored; return how many there are, and their bytes."""
        here = {path.name: path for path in _data_files(restored)}
        names = {name: feed for feed in (9001, _MISSING_IN) for name in self.lotame.files(feed) if name != lost}
        wrong = sorted(here.keys() ^ names.keys())
        wrong += [
            name
            for name in here.keys() & names.keys()
            if here[name].read_bytes() != self.lotame.stored(names[name], name).data
        ]
        if wrong:
            raise Ds3Error(f"{len(wrong)} of {len(names)} files are not what they were, the first is {wrong[0]}")
        return len(names), sum(path.stat().st_size for path in here.values())

    def _convert(self, restored: str) -> int:
        from ds3tool.lotame.convert import BadLine, Converter, Form
        from ds3tool.lotame.whole_file import WholeFile

        bad: list[BadLine] = []
        with WholeFile(os.path.join(self.folder, "profiles.csv")) as table:
            converter = Converter(table.write, Form.CSV)
            for path in _data_files(restored):
                with path.open("rb") as file:
                    converter.add(file, path.name, bad.append)
            converter.end()
            table.commit()
        if bad:
            raise Ds3Error(f"{len(bad)} lines could not be converted, the first is {bad[0]}")
        with open(table.path, encoding="utf-8") as made:
            for line in itertools.islice(made, 2):
                self.story.tell(line.rstrip())
        self.story.tell(f"... {counted(converter.done.rows, 'row')} of {counted(converter.done.lines, 'profile')}")
        return converter.done.rows


def _data_files(restored: str) -> list[Path]:
    """Return the files of feeds, which answers and mapping files are not."""
    return sorted(path for path in Path(restored).rglob("*.gz") if any("region=" in part for part in path.parts))
