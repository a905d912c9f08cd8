"""Objects of a get that come by the page are planned just as they are one by one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds3tool.client import Ds3Client
from ds3tool.errors import NotFoundError
from ds3tool.jobs.ends import Failure
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.get_targets import Asked, Targets
from ds3tool.jobs.plan import JobLimits, PlannedJob, plan_get
from ds3tool.protocol.listed_columns import ListedColumns
from ds3tool.protocol.model import ListedObject, ObjectHead
from ds3tool.renaming import Renaming
from ds3tool.sinks import names
from ds3tool.sinks.local import LocalSink

THEN = datetime(2026, 1, 2, tzinfo=UTC)
PARTS = ["a", "b", "c", "f", "F", "ü", "a b", " b", ".c", "..", ".", "", "%01", "a&b", "x" * 252, "a~1"]
KEYS = st.builds("/".join, st.lists(st.sampled_from(PARTS), min_size=1, max_size=3)).filter(bool)
PLAIN = [f"p/{folder}/{number:02}" for folder in "ab" for number in range(20)]
Seen = tuple[list[tuple[list[str], list[int], list[str], set[int]]], list[str | None], int, list[str]]


class NoHeads(Ds3Client):
    """An appliance that tells nothing of any object but that it was listed."""

    def __init__(self) -> None:
        """There is nobody to connect to."""

    def head_object(self, bucket: str, key: str, *, version_id: str | None = None) -> ObjectHead:
        raise NotFoundError("no metadata", status=404, code="NoSuchKey")


def _page(objects: Iterable[ListedObject]) -> ListedColumns:
    page = ListedColumns()
    for one in objects:
        page.extend(
            (one.key,),
            (one.size,),
            last_modified=(one.last_modified,),
            etags=(one.etag or "",),
            version_ids=("",),
            latest=(None,),
            owners=(None,),
        )
    return page


def _plans(targets: Targets, asked: Iterable[Asked], limits: JobLimits) -> Iterator[PlannedJob]:
    for plan in plan_get(targets.of(asked), "b", limits=limits, look_again=targets.look_again):
        yield targets.without_conflicts(plan)
        targets.look_anew()


def _seen(root: Path, asked: Iterable[Asked], rule: IfExists, limits: JobLimits) -> Seen:
    failed: list[Failure] = []
    with closing(LocalSink(str(root))) as sink:
        targets = Targets(NoHeads(), sink, "b", name_of=Renaming("p/"), if_exists=rule, fail=failed.append)
        plans = [
            (plan.keys, list(plan.sizes), plan.target_names, plan.replaces) for plan in _plans(targets, asked, limits)
        ]
    return plans, [failure.key for failure in failed], targets.skipped, targets.notes


@settings(max_examples=80, deadline=None)
@given(
    st.lists(KEYS, max_size=8),
    st.integers(0, len(PLAIN)),
    st.sets(st.sampled_from(["a/03", "b/x", "f", "c"])),
    st.sampled_from([IfExists.SKIP, IfExists.OVERWRITE, IfExists.RENAME, IfExists.FAIL]),
    st.sampled_from([JobLimits(), JobLimits(7), JobLimits(100, 90)]),
    st.booleans(),
)
def test_a_page_is_planned_as_its_objects_are(
    odd: list[str], at: int, there: set[str], rule: IfExists, limits: JobLimits, incomplete: bool
) -> None:
    """Odd names, names that are taken and objects that are not complete come out the same, in the same order."""
    keys = [*PLAIN[:at], *odd, *PLAIN[at:]]
    objects = [ListedObject(key, len(key), THEN, None) for key in keys]
    if incomplete:
        objects[at // 2] = ListedObject(keys[at // 2], 0, None, None)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in there:
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(b"mine")
        one_by_one = _seen(root, objects, rule, limits)
        assert _seen(root, [_page(objects)], rule, limits) == one_by_one


def test_what_comes_into_an_empty_folder_between_two_jobs_is_seen_amid_a_page(tmp_path: Path) -> None:
    """The rest of a page is looked at again once a job was planned of its beginning."""
    page = _page(ListedObject(key, 1, THEN, None) for key in ("a", "b", "c", "d", "e"))
    failed: list[Failure] = []
    with closing(LocalSink(str(tmp_path))) as sink:
        targets = Targets(NoHeads(), sink, "b", name_of=Renaming(), if_exists=IfExists.SKIP, fail=failed.append)
        planned = []
        for plan in _plans(targets, [page], JobLimits(2)):
            planned.append(plan.keys)
            (tmp_path / "d").write_bytes(b"mine")
    assert planned == [["a", "b"], ["c", "e"]]
    assert (failed, targets.skipped) == ([], 1)


def test_a_page_costs_one_look_at_each_empty_folder_and_one_at_what_stands_alone(tmp_path: Path) -> None:
    """Nobody looks into a folder for the one object that goes there, nor at each name of an empty one."""
    looked: list[str] = []

    class Looking(LocalSink):
        def existing_size(self, name: str) -> int | None:
            looked.append(name)
            return super().existing_size(name)

        def is_empty(self, folder: str) -> bool:
            looked.append(f"{folder}/")
            return super().is_empty(folder)

    keys = ["a/1", "b/1", "b/2", "b/3", "c/1", "d/1", "d/2"]
    page = _page(ListedObject(key, 1, THEN, None) for key in keys)
    with closing(Looking(str(tmp_path))) as sink:
        targets = Targets(NoHeads(), sink, "b", name_of=Renaming(), if_exists=IfExists.SKIP, fail=print)
        (plan,) = _plans(targets, [page], JobLimits())
    assert plan.keys == keys
    assert sorted(looked) == ["a/1", "b/", "c/1", "d/"]


@given(st.lists(st.builds("/".join, st.lists(st.sampled_from([*PARTS, "a" * 251, "-", "é"]), max_size=3)), max_size=4))
def test_names_that_are_plain_together_are_plain_alone(some: Sequence[str]) -> None:
    """One look at many never passes a name that a look at it alone would not."""
    if names.are_plain(some):
        assert all(map(names.is_plain, some))


@pytest.mark.parametrize("name", ["a/b.c", "-", "a b/c d", "x" * 251])
def test_ordinary_names_are_plain_together(name: str) -> None:
    """What nearly all files are called is passed at one look."""
    assert names.are_plain([name, "other", name])
