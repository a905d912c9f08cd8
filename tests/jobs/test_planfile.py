"""Plans that are kept in files: what is read is what was written, and half a plan is no plan."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.errors import ConfigError, Ds3Error, PathNotFoundError, UsageError
from ds3tool.jobs.ends import SourceObject, TargetObject
from ds3tool.jobs.plan import JobLimits, plan_get, plan_put
from ds3tool.jobs.planfile import PlanHead, SavedPlan, save_plan, write_plan
from ds3tool.protocol.model import JobType
from ds3tool.protocol.ranges import ByteRange

PUT = PlanHead(JobType.PUT, "bucket", {"sources": ["/data"], "preserve": True})
SOURCES = [
    SourceObject("a", 5, 1_700_000_000_123_456_789, b"a", (1 << 64) - 1),
    SourceObject("b\n\u2028", 0, -5, b"b\xff\n", 0),
    SourceObject("c/", 0, 0, b"c/"),
]
TARGETS = [
    TargetObject("a", 5, "x/a"),
    TargetObject("b", 3, "b\udcff", "v-1", (ByteRange(7, 9), ByteRange(0, 1)), replace=True),
]


def test_a_put_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Names that are not UTF-8, line feeds in keys and times before 1970 come back."""
    path = str(tmp_path / "plan")
    assert save_plan(path, PUT, plan_put(SOURCES, "bucket", limits=JobLimits(2))) == (3, 5)
    plan = SavedPlan(path)
    assert plan.head == PUT
    assert (plan.objects, plan.bytes) == (3, 5)
    assert list(plan.source_objects()) == SOURCES


def test_a_get_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Versions, ranges and replacing come back."""
    path = str(tmp_path / "plan")
    save_plan(path, PlanHead(JobType.GET, "bucket"), plan_get(TARGETS, "bucket", limits=JobLimits()))
    assert list(SavedPlan(path).target_objects()) == TARGETS


@given(cut=st.integers(0, 10_000))
def test_a_plan_that_was_cut_short_is_refused(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Wherever it ends, nothing of it is done."""
    file = io.BytesIO()
    write_plan(file, PUT, plan_put(SOURCES, "bucket", limits=JobLimits()))
    whole = file.getvalue()
    path = tmp_path_factory.mktemp("plans") / "plan"
    path.write_bytes(whole[: cut % len(whole)])
    with pytest.raises(ConfigError):
        SavedPlan(str(path))


def test_a_line_that_was_changed_by_hand_is_named(tmp_path: Path) -> None:
    """The error gives the line's number."""
    path = tmp_path / "plan"
    save_plan(str(path), PUT, plan_put(SOURCES, "bucket", limits=JobLimits()))
    lines = path.read_text().splitlines(keepends=True)
    changed = {**json.loads(lines[2]), "size": "many"}
    path.write_text("".join([*lines[:2], json.dumps(changed) + "\n", *lines[3:]]))
    with pytest.raises(ConfigError, match="line 3"):
        SavedPlan(str(path))


def test_a_plan_that_has_lost_objects_since_it_was_checked_is_not_taken_for_done(tmp_path: Path) -> None:
    """Nor one that comes through a pipe, which holds nothing when it is read for the second time."""
    path = tmp_path / "plan"
    save_plan(str(path), PUT, plan_put(SOURCES, "bucket", limits=JobLimits()))
    plan = SavedPlan(str(path))
    path.write_bytes(b"")
    with pytest.raises(ConfigError, match="0 objects now, and held 3"):
        list(plan.source_objects())


@pytest.mark.parametrize("content", [b"", b"{}\n", b"[1]\n", b"\xff\n", b'{"ds3tool_plan":2}\n', b"key\n"])
def test_what_is_no_plan_is_refused(content: bytes, tmp_path: Path) -> None:
    """A file of another kind is named as such."""
    path = tmp_path / "plan"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="plan"):
        SavedPlan(str(path))


def test_a_plan_is_never_written_over_a_file(tmp_path: Path) -> None:
    """What is there stays as it is, and no temporary file is left."""
    path = tmp_path / "plan"
    path.write_text("mine")
    with pytest.raises(UsageError, match="there already"):
        save_plan(str(path), PUT, [])
    assert path.read_text() == "mine"
    assert os.listdir(tmp_path) == ["plan"]


def test_a_planning_that_fails_leaves_no_file(tmp_path: Path) -> None:
    """A plan appears whole or not at all."""

    def failing() -> object:
        yield from plan_put(SOURCES[:1], "bucket", limits=JobLimits())
        raise Ds3Error("the listing broke off")

    with pytest.raises(Ds3Error, match="broke off"):
        save_plan(str(tmp_path / "plan"), PUT, failing())  # type: ignore[arg-type]  # a generator is what it is
    assert os.listdir(tmp_path) == []


def test_a_plan_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    """It is a path that was not found."""
    with pytest.raises(PathNotFoundError):
        SavedPlan(str(tmp_path / "none"))
