"""How what is to be moved becomes jobs: their limits, their names, what an object of a plan remembers."""

from __future__ import annotations

import gc
import tracemalloc

from ds3tool.jobs.ends import SourceObject, TargetObject
from ds3tool.jobs.existing import numbered_name
from ds3tool.jobs.plan import JobLimits, plan_get, plan_put
from ds3tool.protocol.model import ObjectToGet
from ds3tool.protocol.ranges import ByteRange


def source(size: int, name: str = "a") -> SourceObject:
    return SourceObject(name, size, 1, name.encode(), 7)


def test_a_job_ends_where_a_limit_would_be_passed() -> None:
    """Objects and bytes both bound a job; the order stays."""
    plans = plan_put(map(source, [4, 4, 4, 1, 1, 1, 1, 9]), "b", limits=JobLimits(3, 9))
    assert [list(plan.sizes) for plan in plans] == [[4, 4], [4, 1, 1], [1, 1], [9]]


def test_an_object_larger_than_the_limit_stands_alone() -> None:
    """It is not refused, and shares its job with nothing."""
    plans = plan_put(map(source, [1, 100, 1]), "b", limits=JobLimits(bytes=10))
    assert [list(plan.sizes) for plan in plans] == [[1], [100], [1]]


def test_a_job_is_called_what_was_asked_and_ends_in_its_token() -> None:
    """Two jobs of one run have one title and two names."""
    first, second = plan_put(map(source, [1, 1]), "b", limits=JobLimits(1), title="night 7")
    assert first.name.startswith("night 7 ")
    assert second.name.startswith("night 7 ")
    assert first.name != second.name


def test_an_object_of_a_plan_is_what_was_planned() -> None:
    """Versions, ranges and replacing stay with their object, also when others are left out."""
    ranges = (ByteRange(5, 10), ByteRange(0, 2))
    plain = TargetObject("a", 1, "x")
    special = TargetObject("b", 7, "y", "v1", ranges, replace=True)
    (plan,) = plan_get([plain, special], "b", limits=JobLimits())
    assert [plan.target_object(0), plan.target_object(1)] == [plain, special]
    assert list(plan.to_get) == [
        ObjectToGet("a"),
        ObjectToGet("b", 5, 5, version_id="v1"),
        ObjectToGet("b", 0, 2, version_id="v1"),
    ]
    assert plan.keep([1]).target_object(0) == special
    (put,) = plan_put([source(3)], "b", limits=JobLimits())
    assert put.keep([0]).source_object(0) == source(3)


def test_a_plan_holds_columns_and_no_objects() -> None:
    """A plan of 50,000 objects keeps none of them alive, and little more of each than its name."""
    count = 50_000
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        (put,) = plan_put((source(3, f"folder/{number}") for number in range(count)), "b", limits=JobLimits())
        (get,) = plan_get(
            (TargetObject(f"k/{number}", 3, f"{number}") for number in range(count)), "b", limits=JobLimits()
        )
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(put.sizes) == len(get.sizes) == count
    # Other tests may keep a few of their own.
    assert sum(isinstance(one, (SourceObject, TargetObject)) for one in gc.get_objects()) < count // 100
    assert held / (2 * count) < 300, f"{held / (2 * count):.0f} bytes an object"


def test_a_numbered_name_keeps_its_extension() -> None:
    """The number stands before the extension; a name that only looks like one has none."""
    names = ["a/film.mov", "film", ".hidden", "a.b/c", "x.tar.gz"]
    assert [numbered_name(name, 1) for name in names] == [
        "a/film~1.mov",
        "film~1",
        ".hidden~1",
        "a.b/c~1",
        "x.tar~1.gz",
    ]
