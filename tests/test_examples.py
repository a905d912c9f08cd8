"""Every file in examples/ runs against the embedded appliance."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ds3tool import Ds3Client, GetRun, LocalSink, LocalSource, PutRun, RunSettings
from ds3tool.protocol.model import TapeState
from ds3tool.simulator import Appliance, ApplianceSettings
from tests.cli.archive import Archive
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
    return dict(
        os.environ,
        DS3_ENDPOINT=appliance.endpoint,
        DS3_ACCESS_KEY=appliance.access_key,
        DS3_SECRET_KEY=appliance.secret_key,
    )


def _run(script: Path, *arguments: str, appliance: Appliance, code: int = 0, **more: str) -> Done:
    """Run an example as a person would; `more` goes into its environment."""
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        env=_environment(appliance) | more,
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
