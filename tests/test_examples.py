"""Every file in examples/ runs against the embedded appliance."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ds3tool import Ds3Client, GetRun, LocalSink, LocalSource, ManualClock, PutRun, RunSettings
from ds3tool.protocol.model import TapeState
from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.simulator.lotame.service import LotameSimulator, LotameSimulatorSettings
from tests.cli.archive import Archive
from tests.far.servers import FarSide
from tests.faults.test_every_fault import from_tape
from tests.trees import make_tree

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def appliance() -> Iterator[Appliance]:
    """An appliance that persists at once."""
    with Appliance(ApplianceSettings(persist_delay=0, retry_after=0)) as running:
        yield running


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _environment(appliance: Appliance) -> dict[str, str]:
    return {
        "DS3_ENDPOINT": appliance.endpoint,
        "DS3_ACCESS_KEY": appliance.access_key,
        "DS3_SECRET_KEY": appliance.secret_key,
    }


def _run(
    script: Path,
    *arguments: str,
    appliance: Appliance | None = None,
    environ: Mapping[str, str] | None = None,
    code: int = 0,
) -> Done:
    """Run an example as a person would, with what leads it to the appliance and elsewhere in its environment."""
    keys = {} if appliance is None else _environment(appliance)
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        env={**os.environ, **keys, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == code, f"{script.name} {arguments}\n{done.stdout}\n{done.stderr}"
    return done


def _put(tree: Path, bucket: str, appliance: Appliance) -> None:
    with Ds3Client.from_environment(_environment(appliance)) as client:
        client.create_bucket(bucket)
        result = PutRun(client, LocalSource(str(tree), prefix=""), bucket, settings=RunSettings()).run()
        assert result.exit_code == 0, result.failures or result.stopped


def test_the_examples_archive_a_folder_restore_it_and_name_its_tapes(
    project: Path, tmp_path: Path, appliance: Appliance
) -> None:
    """What comes back is what went out, and the tapes that hold it are named."""
    sample = project / "resources" / "sample-archive"
    target = tmp_path / "restored"
    said = _run(
        project / "examples" / "put_and_get.py", str(sample), "archive", str(target), appliance=appliance
    ).stdout
    assert said.startswith("put 7 objects")
    assert _files(target) == _files(sample)
    said = _run(project / "examples" / "which_tapes.py", "archive", appliance=appliance).stdout
    assert sum(int(line.split(": ")[1].split()[0]) for line in said.splitlines()) <= 7


def test_the_bulk_loop_puts_a_folder_through_a_cache_that_is_too_small_for_it(project: Path, tmp_path: Path) -> None:
    """Blobs go as their chunks come, whenever the appliance has room for one; every byte arrives."""
    tree, back = tmp_path / "tree", tmp_path / "back"
    make_tree(tree, files=40, largest=400_000, seed=7)
    settings = ApplianceSettings(
        blob_size=100_000, chunk_size=300_000, cache_size=900_000, persist_delay=0, retry_after=0
    )
    with Appliance(settings) as appliance:
        said = _run(project / "examples" / "bulk_loop.py", str(tree), "archive", appliance=appliance).stdout
        assert f"{len(_files(tree))} objects" in said
        with Ds3Client.from_environment(_environment(appliance)) as client, closing(LocalSink(str(back))) as sink:
            listed = client.list_objects("archive")
            assert GetRun(client, sink, "archive", listed, name_of=str, settings=RunSettings()).run().exit_code == 0
    assert _files(back) == _files(tree)


def test_the_listing_goes_by_page_by_page_and_goes_on_where_it_is_told(
    project: Path, tmp_path: Path, appliance: Appliance
) -> None:
    """Pages of a thousand; the key at which one ended begins the next run."""
    (tmp_path / "tree").mkdir()
    for number in range(1200):
        (tmp_path / "tree" / f"{number:04}").write_bytes(b"x")
    _put(tmp_path / "tree", "many", appliance)
    script = project / "examples" / "paged_listing.py"
    whole = _run(script, "many", appliance=appliance)
    keys = [line.split()[1] for line in whole.stdout.splitlines()]
    assert keys == [f"{number:04}" for number in range(1200)]
    assert whole.stderr.splitlines() == [
        "page 1: 1000 objects, go on after 0999",
        "page 2: 200 objects, the last one",
    ]
    rest = _run(script, "many", "1", "1149", appliance=appliance)
    assert [line.split()[1] for line in rest.stdout.splitlines()] == keys[1150:]


def test_prefix_folders_are_shown_and_deleted(project: Path, appliance: Appliance) -> None:
    """What is below a prefix goes, and what only begins alike stays."""
    said = _run(project / "examples" / "prefix_folders.py", "folders", appliance=appliance).stdout
    before, after = said.split("after the deletion:\n")
    assert before.split() == ["logs-old/", "d.txt", "logs/", "2024/", "a.txt", "b.txt", "2025/", "c.txt", "2026/"]
    assert after.split() == ["logs-old/", "d.txt"]


def test_a_bulk_restore_names_what_it_cannot_restore(project: Path, tmp_path: Path, appliance: Appliance) -> None:
    """The tapes are named first; a missing key fails by name with exit code 3; without its tape nothing comes: 8."""
    tree, target, keys = tmp_path / "tree", tmp_path / "target", tmp_path / "keys"
    make_tree(tree, files=10, largest=10_000, seed=7)
    _put(tree, "archive", appliance)
    wanted = dict([(name, data) for name, data in _files(tree).items() if name.isprintable()][:5])
    keys.write_text("".join(f"{key}\n" for key in [*wanted, "never/was"]))
    from_tape(appliance)
    script = project / "examples" / "bulk_restore.py"
    done = _run(script, "archive", str(keys), str(target), appliance=appliance, code=3)
    assert done.stderr.startswith("never/was: ")
    assert done.stdout.startswith("on tapes in the library: SIM")
    assert _files(target) == wanted

    from_tape(appliance)
    with Ds3Client.from_environment(_environment(appliance)) as client:
        (tape,) = [tape for tape in client.list_tapes() if tape.bar_code in done.stdout]
        client.eject_tape(tape.bar_code)
        Archive.of(appliance).until(lambda: client.get_tape(tape.bar_code).state is TapeState.EJECTED)
    done = _run(script, "archive", str(keys), str(tmp_path / "other"), appliance=appliance, code=8)
    assert f"somebody must bring: {tape.bar_code}" in done.stdout
    assert tape.bar_code in done.stderr
    done = _run(script, "nowhere", str(keys), str(target), appliance=appliance, code=4)
    assert "nowhere" in done.stderr


def test_the_lotame_downloader_brings_each_file_once(project: Path, tmp_path: Path) -> None:
    """A file that is gone is named, with exit code 3; the next run brings it and what is new, and nothing twice."""
    script, folder = project / "examples" / "lotame_download.py", tmp_path / "lotame"
    clock = ManualClock(time.time())
    with LotameSimulator(LotameSimulatorSettings(clock=clock)) as lotame:
        gone, *others = lotame.files(9001)
        data = lotame.stored(9001, gone).data
        lotame.remove(9001, gone)
        done = _run(script, str(folder), environ=lotame.environ, code=3)
        assert gone in done.stderr
        before = {name.rpartition("/")[2]: data for name, data in _files(folder).items()}
        assert {name: before.get(name) for name in others} == {name: lotame.stored(9001, name).data for name in others}
        assert gone not in before

        lotame.add_file(9001, gone, data)
        clock.advance(3600)
        done = _run(script, str(folder), environ=lotame.environ)
        after = {name.rpartition("/")[2]: data for name, data in _files(folder).items()}
        new = {name for feed in (9001, 9002) for name in lotame.files(feed)} - set(before)
        assert done.stdout.startswith(f"{len(new)} files, ")
        assert all(after[name] for name in new)
        assert _run(script, str(folder), environ=lotame.environ).stdout == "0 files, 0 bytes\n"


def test_a_prefix_of_s3_goes_to_tape_and_comes_back_elsewhere(
    project: Path, appliance: Appliance, seaweed: FarSide
) -> None:
    """Every byte and content type comes back; what is beside the prefix stays where it is."""
    objects = {f"data/{name}": name.encode() * 1000 for name in ("a.csv", "b c.csv", "deep/ü+%.csv", "empty/x")}
    origin, target = seaweed.bucket({**objects, "database": b"no"}), seaweed.bucket()
    seaweed.client().put_object(Bucket=origin, Key="data/page", Body=b"<p>", ContentType="text/html")
    script = project / "examples" / "s3_to_tape_and_back.py"
    ways = (f"s3://{origin}/data/", "archive", f"s3://{target}/back/")
    done = _run(script, *ways, environ={**seaweed.environ, **_environment(appliance)})
    assert done.stdout.startswith("put 5 objects, ")
    assert "\ngot 5 objects, " in done.stdout
    assert seaweed.contents(target) == {
        "back/page": b"<p>",
        **{f"back/{key.removeprefix('data/')}": data for key, data in objects.items()},
    }
    assert seaweed.client().head_object(Bucket=target, Key="back/page")["ContentType"] == "text/html"


def test_delivered_hours_are_archived_once_they_are_closed(
    project: Path, tmp_path: Path, appliance: Appliance, moto: FarSide
) -> None:
    """What a stream delivers now stays for a later run; an hour that is over goes once, and a late file after it."""
    table, bucket = tmp_path / "table.csv", moto.bucket()
    table.write_text("id,name\n1,one\n2,two\n")
    firehose = moto.client("firehose")
    firehose.create_delivery_stream(
        DeliveryStreamName=bucket,
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/r",
            "BucketARN": f"arn:aws:s3:::{bucket}",
            "Prefix": "f/",
        },
    )
    over = datetime.now(UTC) - timedelta(hours=3)

    def deliver(data: bytes) -> str:
        name = f"{over:%Y/%m/%d/%H}/{bucket}-1-{over:%Y-%m-%d-%H-%M-%S}-{uuid.uuid4()}"
        moto.client().put_object(Bucket=bucket, Key=f"f/{name}", Body=data)
        return name

    def run() -> Done:
        ways = (str(table), bucket, f"s3://{bucket}/f/", "archive", "0")
        script = project / "examples" / "firehose_by_the_hour.py"
        return _run(script, *ways, environ={**moto.environ, **_environment(appliance)})

    first = deliver(b"x\n")
    done = run()
    assert done.stdout == "sent 2 records, 12 bytes\nput 1 objects, 2 bytes; 0 were there already\n"
    assert "not closed, and left for a later run" in done.stderr
    assert sorted(data for key, data in moto.contents(bucket).items()) == [b"1,one\n2,two\n", b"x\n"]
    late = deliver(b"late\n")
    assert run().stdout.endswith("put 1 objects, 5 bytes; 1 were there already\n")
    with Ds3Client.from_environment(_environment(appliance)) as client:
        assert {one.key for one in client.list_objects("archive")} == {f"{bucket}/{first}", f"{bucket}/{late}"}


def test_every_name_that_the_library_offers_is_there_and_imports_nothing_heavy() -> None:
    """Whoever takes a name from `ds3tool` gets it, and neither boto3 nor a server with it."""
    code = (
        "import ds3tool, sys; [getattr(ds3tool, name) for name in ds3tool.__all__];"
        "sys.exit(' '.join({'boto3', 'botocore', 'awscrt', 'ds3tool.simulator'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_example_is_run_here(project: Path) -> None:
    """A new example must be run by a test too."""
    run_here = set(re.findall(r'"(\w+\.py)"', Path(__file__).read_text()))
    assert {path.name for path in (project / "examples").glob("*.py")} == run_here
