"""What a command tells its journal, and which command it says goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ds3tool.cli.journalled import without_secrets
from ds3tool.jobs.works import works
from ds3tool.simulator import Appliance, ApplianceSettings
from tests.cli.archive import Archive


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("http://operator:secret@proxy:3128", "http://proxy:3128"),
        ("--proxy=https://operator:se%40cret@proxy", "--proxy=https://proxy"),
        ("ds3://bucket/a@b", "ds3://bucket/a@b"),
        ("mail@host", "mail@host"),
        ("https://host/a%20b?X-Amz-Signature=secret", "https://host/a%20b"),
        ("--source=http://host/a?sig=secret#part", "--source=http://host/a"),
        ("ds3://bucket/what?#", "ds3://bucket/what?#"),
    ],
)
def test_no_password_and_no_signature_is_remembered(word: str, kept: str) -> None:
    """What stands between // and @ goes, of a URL what comes after its path, and nothing else."""
    assert without_secrets((word,)) == [kept]


def test_no_key_stands_in_the_state_folder(archive: Archive, tree: Path, tmp_path: Path) -> None:
    """Neither the secret key nor the access key is in any file that a command leaves there."""
    state = tmp_path / "state"
    archive.run("put", str(tree), f"ds3://{archive.bucket()}", "--state-dir", str(state)).expect(0)
    left = [path.read_bytes() for path in state.rglob("*") if path.is_file()]
    assert left
    for name in ("DS3_ACCESS_KEY", "DS3_SECRET_KEY"):
        assert not any(archive.environ[name].encode() in data for data in left)


def test_a_working_folder_that_is_gone_does_not_matter(
    archive: Archive, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal is kept all the same."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    archive.run("put", str(tree), f"ds3://{archive.bucket()}").expect(0)


def test_what_is_refused_before_any_job_leaves_no_journal(tree: Path, tmp_path: Path) -> None:
    """A blob size that the appliance does not take: the command is mended, and `resume` has nothing to do with it."""
    state = tmp_path / "state"
    with Appliance(ApplianceSettings()) as appliance:
        archive = Archive.of(appliance)
        with archive.client:
            typed = ("put", str(tree), f"ds3://{archive.bucket()}", "--max-upload-size", "5")
            said = archive.run(*typed, "--state-dir", str(state), "-o", "json")
    assert said.json["error"]["exit_code"] == said.exit_code
    assert said.exit_code not in {0, 7, 130}, str(said)
    assert "resume" not in said.stderr
    assert works(state) == []
