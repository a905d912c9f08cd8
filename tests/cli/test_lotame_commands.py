"""`lotame feeds`, `updates` and `pull`: what Lotame has, as a list and as files, each once and whole."""

from __future__ import annotations

import csv
import gzip
import io
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ds3tool.aws.session import AwsSettings
from ds3tool.cli.lotame_convert import EXAMPLES
from ds3tool.errors import InterruptedRunError
from ds3tool.lotame.client import LotameClient
from ds3tool.lotame.news import News
from ds3tool.lotame.pull import Puller
from ds3tool.lotame.settings import find_settings
from ds3tool.lotame.watermark import Watermarks
from ds3tool.simulator.lotame.service import LotameFault, SimulatedFeed
from tests.cli.lotame_box import FEED, Box, box

USUAL = (
    SimulatedFeed(9001, "client", "cookie", files_per_hour=1),
    SimulatedFeed(9002, "3pd", "mobile", mapping="http", files_per_hour=1),
    SimulatedFeed(9003, "3pd", "cookie", region="eu", empty=True),
)


@pytest.fixture
def usual(tmp_path: Path) -> Iterator[Box]:
    """Two feeds with a file an hour, and an empty one."""
    with box(tmp_path, *USUAL) as one:
        yield one


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Box]:
    """One feed with the files that a test adds."""
    with box(tmp_path) as one:
        yield one


def pulled(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder by their last parts; fails where two have the same."""
    found: dict[str, bytes] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            assert path.name not in found
            found[path.name] = path.read_bytes()
    return found


def since_of(lotame: Box) -> list[float | None]:
    """Return since when updates were asked for, question by question."""
    told = [one.parameters.get("since") for one in lotame.lotame.asked("api") if one.path.endswith("updates")]
    return [None if text is None else float(text) for text in told]


# -- feeds and updates ------------------------------------------------------------------------------------------------


def test_feeds_are_listed(usual: Box) -> None:
    """Each feed is a line with its kind of profiles and its mapping file."""
    assert usual.run("lotame", "feeds", "-o", "json").expect(0).json == [
        {
            "id": 9001,
            "client_id": 4321,
            "type": "client",
            "profile_type": "cookie",
            "mapping": "s3://lotame-firehose.example/export/v=2.1/4321/meta/behaviors.json.gz",
        },
        {
            "id": 9002,
            "client_id": 4321,
            "type": "3pd",
            "profile_type": "mobile",
            "mapping": usual.lotame.base_url.replace("/2", "/static/behaviors.json.gz"),
        },
        {
            "id": 9003,
            "client_id": 4321,
            "type": "3pd",
            "profile_type": "cookie",
            "mapping": "s3://lotame-firehose.example/export/v=2.1/4321/meta/behaviors.json.gz",
        },
    ]


def test_updates_list_each_file_in_every_shape(usual: Box) -> None:
    """Files of a feed are lines with their place, in all shapes; a feed without news is a line without a place."""
    names = [usual.names(9001)[0], usual.names(9002)[0]]
    found = usual.run("lotame", "updates", "-o", "json").expect(0).json
    assert [(one["feed"], one["file"]) for one in found] == [(9001, names[0]), (9002, names[1]), (9003, None)]
    assert found[0]["place"] == f"s3://lotame-firehose.example/export/v=2.1/4321/na/cookie/{names[0]}"
    assert found[2]["place"] is None
    lines = usual.run("lotame", "updates", "--feed", "9001", "-o", "ndjson").expect(0).lines
    assert [one["file"] for one in lines] == names[:1]
    rows = list(csv.DictReader(io.StringIO(usual.run("lotame", "updates", "-o", "csv").expect(0).stdout)))
    assert [row["file"] for row in rows] == [*names, ""]
    assert names[0] in usual.run("lotame", "updates").expect(0).stdout


def test_nothing_secret_is_shown(usual: Box, tmp_path: Path) -> None:
    """No token and no part of the credentials for S3 is on stdout, on stderr, in the log, or in what is remembered."""
    told = ""
    for arguments in (("feeds",), ("updates",), ("updates", "-o", "json"), ("pull", str(tmp_path / "out"))):
        result = usual.run("lotame", *arguments, "-vv", "--log-file", str(tmp_path / "log"))
        told += result.expect(0).stdout + result.stderr
    told += (tmp_path / "log").read_text()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            told += path.read_bytes().decode("latin-1")
    secrets = [usual.lotame.token, usual.lotame.access, "secretAccessKey", "sessionToken", "s3creds"]
    signed = [one for one in usual.lotame.asked("s3") if "x-amz-security-token" in one.headers]
    secrets += {one.headers["x-amz-security-token"] for one in signed}
    assert len(secrets) > 5
    assert [secret for secret in secrets if secret in told] == []


def test_since_is_really_sent(usual: Box) -> None:
    """--since and --hours are asked for in Unix seconds; without them nothing is, and both together are refused."""
    usual.run("lotame", "updates", "--feed", "9001").expect(0)
    usual.run("lotame", "updates", "--feed", "9001", "--since", "2024-01-31").expect(0)
    before = time.time()
    usual.run("lotame", "updates", "--feed", "9001", "--hours", "1.5").expect(0)
    asked = since_of(usual)
    assert asked[:2] == [None, datetime(2024, 1, 31, tzinfo=UTC).timestamp()]
    assert asked[2] is not None
    assert abs(asked[2] - (before - 5400)) < 60
    for wrong in (("--since", "2024-01-31", "--hours", "2"), ("--hours", "0"), ("--since", "2999-01-01")):
        usual.run("lotame", "updates", *wrong).expect(2)
    assert len(since_of(usual)) == 3


def test_a_feed_that_is_not_there_is_named(usual: Box, tmp_path: Path) -> None:
    """The number of no feed ends with 4, a word that is no number with 2."""
    usual.run("lotame", "pull", str(tmp_path / "out"), "--feed", "77").expect(4)
    usual.run("lotame", "updates", "--feed", "77").expect(4)
    usual.run("lotame", "updates", "--feed", "seven").expect(2)


def test_who_lotame_does_not_know_is_told(usual: Box) -> None:
    """A refused token ends with 6, and without any token the places are named that were looked into."""
    usual.lotame.faults.once("api-401")
    assert "LOTAME_TOKEN" in usual.run("lotame", "feeds").expect(6).stderr
    usual.environ = {"LOTAME_TOKEN": ""}
    assert "token" in usual.run("lotame", "feeds").expect(2).stderr


# -- pull -----------------------------------------------------------------------------------------------------------


def test_each_file_comes_once(usual: Box, tmp_path: Path) -> None:
    """All files come whole, with each feed's answer and mapping file; a second run fetches nothing.

    They lie where the help of `lotame convert` looks for them.
    """
    out = tmp_path / "out"
    result = usual.run("lotame", "pull", str(out), "-o", "json").expect(0).json
    assert (result["files"], result["skipped"], result["feeds"], result["failed"]) == (4, 0, 3, [])
    files = [path.relative_to(out).as_posix() for path in out.rglob("*.gz")]
    name = usual.names(9001)[0]
    stamp = datetime.fromtimestamp(usual.lotame.stored(9001, name).modified, UTC)
    assert f"client=4321/feed=9001/region=na/type=cookie/{stamp:dt=%Y-%m-%d/hour=%H}/{name}" in files
    for feed in (9001, 9002):
        for one in usual.names(feed):
            (path,) = out.rglob(one)
            assert path.read_bytes() == usual.data(one, feed)
        (answer,) = out.glob(f"client=4321/feed={feed}/updates/**/*.json")
        assert [one["id"] for one in json.loads(answer.read_bytes())["feeds"]] == [feed]
        (mapping,) = out.glob(f"client=4321/feed={feed}/mapping/**/*.gz")
        assert b"hierarchy_nodes" in gzip.decompress(mapping.read_bytes())
    fetched = len(usual.fetched())
    assert usual.run("lotame", "pull", str(out), "-o", "json").expect(0).json["files"] == 0
    usual.run("lotame", "pull", str(out), "--error-if-nothing").expect(9)
    assert len(usual.fetched()) == fetched
    usual.hours_pass(3)
    assert usual.run("lotame", "pull", str(out), "-o", "json").expect(0).json["files"] == 6
    assert len(list(out.rglob("*-*.gz"))) == 8
    (shown,) = (word for line in EXAMPLES for word in line.split() if word.startswith("pulled/"))
    assert len(list(out.glob(shown.removeprefix("pulled/")))) == 8
    assert not list(out.rglob("*.part"))


def test_each_folder_has_its_own_memory(bare: Box, tmp_path: Path) -> None:
    """What one folder has does not count for another; nor does its overlap with --since move the other's watermark."""
    bare.add("one.gz", gzip.compress(b"one"))
    for folder in ("here", "there"):
        assert bare.run("lotame", "pull", str(tmp_path / folder), "-o", "json").expect(0).json["files"] == 1
    bare.run("lotame", "pull", str(tmp_path / "here")).expect(0)
    assert since_of(bare)[-1] is not None


def test_what_is_missing_is_named_and_comes_later(bare: Box, tmp_path: Path) -> None:
    """A file that is gone and one that is cut short are named, exit 3; later runs ask for just these."""
    whole = gzip.compress(b"x" * 1000)
    for name in ("good.gz", "gone.gz", "cut.gz"):
        bare.add(name, whole)
    bare.lotame.remove(FEED, "gone.gz")
    bare.lotame.cut_gzip(FEED, "cut.gz")
    out = tmp_path / "out"
    result = bare.run("lotame", "pull", str(out), "-o", "json").expect(3)
    assert "feed 9001: gone.gz is listed by Lotame and is not there" in result.stderr
    assert "cut.gz" in result.stderr
    assert "cut short" in result.stderr
    assert len(result.json["failed"]) == 2
    assert {name for name in pulled(out) if name.endswith(".gz")} == {"good.gz"}
    fetched = bare.fetched()
    bare.run("lotame", "pull", str(out)).expect(3)
    assert bare.fetched()[len(fetched) :] == ["cut.gz"]
    bare.add("gone.gz", whole)
    bare.lotame.replace(FEED, "cut.gz", whole)
    fetched = bare.fetched()
    assert bare.run("lotame", "pull", str(out), "-o", "json").expect(0).json["files"] == 2
    assert sorted(bare.fetched()[len(fetched) :]) == ["cut.gz", "gone.gz"]
    assert since_of(bare) == [None, None, None]
    bare.run("lotame", "pull", str(out)).expect(0)
    assert since_of(bare)[-1] is not None


def test_what_lotame_lists_no_more_is_a_gap(bare: Box, tmp_path: Path) -> None:
    """A file that could not be had, and that the next answer does not list, is named once more as lost."""
    bare.add("gone.gz", gzip.compress(b"x"))
    bare.lotame.remove(FEED, "gone.gz")
    out = tmp_path / "out"
    bare.run("lotame", "pull", str(out)).expect(3)
    with box(tmp_path) as later:  # what Lotame keeps has moved on
        result = later.run("lotame", "pull", str(out)).expect(3)
        assert "gone.gz could not be had, and Lotame does not list it any more" in result.stderr
        later.run("lotame", "pull", str(out)).expect(0)


def test_a_reading_that_breaks_off_goes_on(bare: Box, tmp_path: Path) -> None:
    """A connection that ends amid a file is followed by one that asks for the rest of the very same object."""
    bare.add("large", bytes(range(256)) * 8000)
    bare.lotame.faults.once("s3-cut")
    bare.run("lotame", "pull", str(tmp_path / "out")).expect(0)
    assert pulled(tmp_path / "out")["large"] == bytes(range(256)) * 8000
    ranges = [one.headers.get("range") for one in bare.lotame.asked("s3") if one.verb == "GET"]
    assert ranges[0] is None
    assert ranges[-1] is not None
    assert bare.lotame.faults.struck("s3-cut") == 1


def test_credentials_that_are_over_are_renewed_amid_the_run(tmp_path: Path) -> None:
    """Credentials that are good for 20 requests serve a run of 60: others are asked for, and nothing is missing."""
    with box(tmp_path, credential_requests=20) as short:
        for number in range(30):
            short.add(f"{number}.gz", gzip.compress(b"%d" % number))
        assert short.run("lotame", "pull", str(tmp_path / "out"), "-o", "json", "-j", "2").expect(0).json["files"] == 30
        assert len(since_of(short)) >= 3
    assert {gzip.decompress(data) for name, data in pulled(tmp_path / "out").items() if name.endswith(".gz")} == {
        b"%d" % number for number in range(30)
    }


def test_what_was_not_noted_is_found_here(bare: Box, tmp_path: Path) -> None:
    """A file that is here with S3's MD5, though nobody remembers it, is not fetched; one with other bytes is, anew."""
    bare.add("one.gz", gzip.compress(b"one"))
    bare.add("two.gz", gzip.compress(b"two"))
    out = tmp_path / "out"
    bare.run("lotame", "pull", str(out)).expect(0)
    for path in (tmp_path / "state" / "lotame").iterdir():
        path.unlink()
    (two,) = out.rglob("two.gz")
    two.write_bytes(b"spoiled")
    left = two.with_name(f".two.gz.{'0' * 16}.part")  # of a run that was killed
    left.write_bytes(b"sp")
    fetched = len(bare.fetched())
    result = bare.run("lotame", "pull", str(out), "-o", "json").expect(0).json
    assert (result["files"], result["skipped"]) == (1, 1)
    assert bare.fetched()[fetched:] == ["two.gz"]
    assert two.read_bytes() == bare.data("two.gz")
    assert not left.exists()


def test_a_run_that_is_stopped_keeps_what_came(bare: Box, tmp_path: Path) -> None:
    """Stopped after its first file, a run ends with 130's error, what came is known, and the next one has the rest."""
    for number in range(20):
        bare.add(f"{number}.gz", gzip.compress(b"%d" % number))
    out, stopped = tmp_path / "out", threading.Event()
    environ = {**bare.lotame.environ, "HOME": str(tmp_path)}
    with (
        LotameClient(find_settings(environ=environ), stopped=stopped) as client,
        Watermarks.open(tmp_path / "state", str(out)) as marks,
    ):
        news = News(client, AwsSettings(None, bare.lotame.s3_endpoint, "us-east-1"), marks)
        puller = Puller(news, marks, str(out), transfers=1, stopped=stopped, on_outcome=lambda _: stopped.set())
        result = puller.run()
    assert isinstance(result.stopped, InterruptedRunError)
    assert 1 <= result.files < 20
    assert not list(out.rglob("*.part"))
    fetched = len(bare.fetched())
    bare.run("lotame", "pull", str(out)).expect(0)
    assert len([name for name in pulled(out) if name.endswith(".gz")]) == 20
    assert len(bare.fetched()) - fetched <= 20 - result.files


def test_two_runs_at_once_are_refused(bare: Box, tmp_path: Path) -> None:
    """While one run has a folder's memory, another ends with 11 and fetches nothing."""
    bare.add("one.gz", gzip.compress(b"one"))
    with Watermarks.open(tmp_path / "state", str(tmp_path / "out")):
        bare.run("lotame", "pull", str(tmp_path / "out")).expect(11)
    assert bare.fetched() == []
    bare.run("lotame", "pull", str(tmp_path / "out")).expect(0)


def test_a_feed_that_answers_nonsense_does_not_stop_the_others(
    usual: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer without feeds is a named failure of its feed, exit 3, and the other feeds' files come."""
    struck: list[str] = []

    def strike(fault: LotameFault, subject: str) -> bool:
        if fault is not LotameFault.API_NO_FEEDS or not subject.endswith("updates") or struck:
            return False
        struck.append(subject)
        return True

    monkeypatch.setattr(usual.lotame.faults, "strike", strike)
    result = usual.run("lotame", "pull", str(tmp_path / "out"), "-o", "json").expect(3).json
    assert [one["feed"] for one in result["failed"]] == [9001]
    assert set(usual.names(9002)) <= set(pulled(tmp_path / "out"))
    assert usual.run("lotame", "pull", str(tmp_path / "out"), "-o", "json").expect(0).json["files"] == 2


def test_settings_are_found_where_people_keep_them(usual: Box, tmp_path: Path) -> None:
    """A file that is named, the home's properties and the profile's table are each enough to reach Lotame."""
    said = {
        "token": usual.lotame.token,
        "access": usual.lotame.access,
        "client_id": usual.lotame.client_id,
        "base_url": usual.lotame.base_url,
    }
    usual.environ = {f"LOTAME_{name.upper()}": "" for name in said}
    usual.run("lotame", "feeds").expect(2)
    properties = tmp_path / "named.properties"
    properties.write_text("[default]\n" + "".join(f'{name} = "{value}"\n' for name, value in said.items()))
    properties.chmod(0o600)
    usual.run("lotame", "feeds", "--lotame-properties", str(properties)).expect(0)
    config = tmp_path / "config.toml"
    config.write_text("[profile.lab.lotame]\n" + "".join(f'{name} = "{value}"\n' for name, value in said.items()))
    config.chmod(0o600)
    usual.run("lotame", "feeds", "--config", str(config)).expect(2)
    usual.run("lotame", "feeds", "--config", str(config), "--profile", "lab").expect(0)
    properties.rename(tmp_path / "lotame.properties")
    usual.run("lotame", "feeds").expect(0)
