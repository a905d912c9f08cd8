"""A journal is compared with a model of what it must hold, whatever it is told and whenever it is cut off."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ds3tool.clock import ManualClock
from ds3tool.jobs.ends import TargetObject
from ds3tool.jobs.journal import Journal
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.recorder import Arriving, MovedBlobs
from ds3tool.jobs.works import works
from ds3tool.protocol.model import ChecksumType, Job, JobStatus, JobType
from tests.jobs.journal_steps import told
from tests.jobs.test_journal import columns_of, head
from tests.jobs.test_journal_trouble import copied_at, copy_files

_KINDS = (None, ChecksumType.MD5, ChecksumType.CRC_32C)


@dataclass
class ModelPlan:
    """What must be known of a plan."""

    plan: PlannedJob
    job_id: str | None = None
    finished: bool = False
    blobs: dict[tuple[int, int], tuple[int, ChecksumType | None, str | None]] = field(default_factory=dict)
    appeared: set[int] = field(default_factory=set)
    arriving: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    def copy(self) -> ModelPlan:
        return ModelPlan(
            self.plan, self.job_id, self.finished, dict(self.blobs), set(self.appeared), dict(self.arriving)
        )

    def told(self) -> tuple[object, ...]:
        return (
            columns_of(self.plan),
            self.job_id,
            self.blobs,
            bytes(number in self.appeared for number in range(len(self.plan))),
            tuple(Arriving(*place, *so_far) for place, so_far in sorted(self.arriving.items())),
        )


def make_plan(name: str, count: int) -> PlannedJob:
    plan = PlannedJob(JobType.GET, "archive")
    plan.name = name
    for number in range(count):
        plan.add_target(TargetObject(f"{name} {number} \udcff", number, f"{number}", replace=bool(number % 2)))
    return plan


class JournalMachine(RuleBasedStateMachine):
    """Tells a journal and a model the same; `now` is what was told, `safe` what must be on the disk."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = ManualClock()
        self.states = 0
        self.names = 0
        self.now: list[ModelPlan] = []
        self.safe: list[ModelPlan] = []
        self.journal: Journal | None = None

    def open_journal(self) -> Journal:
        assert self.journal is not None
        return self.journal

    @initialize()
    def begin(self) -> None:
        self.journal = Journal.create(self.folder / "0", head(JobType.GET), clock=self.clock)
        self.journal.planned(self.add(3))
        self.all_safe()

    def add(self, count: int) -> PlannedJob:
        self.names += 1
        plan = make_plan(f"plan {self.names}", count)
        self.now.append(ModelPlan(plan))
        return plan

    def all_safe(self) -> None:
        self.safe = [plan.copy() for plan in self.now]

    def pick(self, number: int, *, with_job: bool | None = None) -> ModelPlan | None:
        """Return one of the plans that go on, of those that have a job, or have none, when that matters."""
        found = [
            plan
            for plan in self.now
            if not plan.finished and (with_job is None or (plan.job_id is not None) == with_job)
        ]
        return found[number % len(found)] if found else None

    # -- what is on the disk at once -------------------------------------------------------------------------------

    @rule(count=st.integers(0, 5))
    def plan_more(self, count: int) -> None:
        self.open_journal().planned(self.add(count))
        self.all_safe()

    @rule(number=st.integers(0, 9), kept=st.sets(st.integers(0, 4)))
    def plan_again(self, number: int, kept: set[int]) -> None:
        plan = self.pick(number, with_job=False)
        if plan is not None:
            less = plan.plan.keep([place for place in range(len(plan.plan)) if place in kept])
            same = columns_of(less) == columns_of(plan.plan)
            self.open_journal().planned(less)
            plan.plan = less
            if not same:
                self.all_safe()

    @rule(number=st.integers(0, 9), count=st.integers(0, 3))
    def plan_instead(self, number: int, count: int) -> None:
        plan = self.pick(number)
        if plan is not None:
            plan.finished = True
            self.open_journal().planned(self.add(count), instead_of=plan.plan)
            self.all_safe()

    @rule(number=st.integers(0, 9), same=st.booleans())
    def create(self, number: int, same: bool) -> None:
        plan = self.pick(number)
        if plan is not None:
            job_id = plan.job_id if same and plan.job_id is not None else f"job {self.names} {self.states} {number}"
            if job_id != plan.job_id and plan.job_id is not None:
                plan.blobs, plan.arriving = {}, {}
            plan.job_id = job_id
            copied = plan.plan.keep(range(len(plan.plan)))
            self.open_journal().created(copied, Job(job_id, "archive", JobType.GET, JobStatus.IN_PROGRESS))
            self.all_safe()

    @rule(number=st.integers(0, 9))
    def finish(self, number: int) -> None:
        plan = self.pick(number)
        if plan is not None:
            plan.finished = True
            self.open_journal().finished(plan.plan)
            self.all_safe()

    # -- what is gathered ------------------------------------------------------------------------------------------

    @rule(
        number=st.integers(0, 9),
        blobs=st.lists(
            st.tuples(st.integers(0, 9), st.integers(0, 2), st.integers(0, 1 << 40), st.sampled_from(_KINDS)),
            min_size=1,
            max_size=5,
        ),
    )
    def move(self, number: int, blobs: list[tuple[int, int, int, ChecksumType | None]]) -> None:
        plan = self.pick(number, with_job=True)
        if plan is None or plan.job_id is None or not len(plan.plan):
            return
        rows = [
            (owner % len(plan.plan), offset, length, kind, None if kind is None else f"{length}")
            for owner, offset, length, kind in blobs
        ]
        self.open_journal().moved(plan.job_id, MovedBlobs(*(list(column) for column in zip(*rows, strict=True))))
        for owner, offset, length, kind, checksum in rows:
            plan.blobs[owner, offset] = (length, kind, checksum)
            plan.arriving.pop((owner, offset), None)

    @rule(number=st.integers(0, 9), owners=st.lists(st.integers(0, 9), max_size=4))
    def appear(self, number: int, owners: list[int]) -> None:
        plan = self.pick(number, with_job=True)
        if plan is not None and plan.job_id is not None and len(plan.plan):
            there = [owner % len(plan.plan) for owner in owners]
            self.open_journal().appeared(plan.job_id, there)
            plan.appeared.update(there)

    @rule(number=st.integers(0, 9), blobs=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), st.integers(0, 99))))
    def arrive(self, number: int, blobs: list[tuple[int, int, int]]) -> None:
        plan = self.pick(number, with_job=True)
        if plan is None or plan.job_id is None or not len(plan.plan):
            return
        # A run tells nothing more of a blob that is through.
        under_way = [
            Arriving(owner % len(plan.plan), offset, 100, done)
            for owner, offset, done in blobs
            if (owner % len(plan.plan), offset) not in plan.blobs
        ]
        self.open_journal().arriving(plan.job_id, under_way)
        plan.arriving.update({(one.owner, one.offset): (one.length, one.done) for one in under_way})

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.3]))
    def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.open_journal().tick()
        if seconds >= 0.25:
            self.all_safe()

    # -- ends ------------------------------------------------------------------------------------------------------

    @rule()
    def close_and_open(self) -> None:
        path = self.open_journal().path
        self.open_journal().close()
        self.journal = Journal.open(path, clock=self.clock)
        self.all_safe()

    @rule()
    def crash(self) -> None:
        """Go on with what is on the disk right now."""
        self.states += 1
        self.go_on_with(copy_files(self.open_journal().path, self.folder / str(self.states)))

    @rule(statement=st.integers(2, 12), count=st.integers(0, 5000))
    def crash_while_writing(self, statement: int, count: int) -> None:
        """Go on with what is on the disk before some statement of a transaction, so that nothing of it counts."""
        self.states += 1
        target = self.folder / str(self.states)
        plan = make_plan(f"perhaps {self.states}", count)
        with copied_at(self.open_journal(), target, statement=statement):
            self.open_journal().planned(plan)
        copied = target / "jobs" / os.path.basename(self.open_journal().path)
        if copied.exists():
            self.go_on_with(str(copied))
        else:  # the transaction had fewer statements
            self.now.append(ModelPlan(plan))
            self.all_safe()

    def go_on_with(self, path: str) -> None:
        left = self.open_journal()
        left._file.close()
        left._lock.release()
        left._closed = True
        self.journal = Journal.open(path, clock=self.clock)
        self.now = [plan.copy() for plan in self.safe]
        self.left_is_right()

    # -- what must hold --------------------------------------------------------------------------------------------

    @precondition(lambda self: self.journal is not None)
    @invariant()
    def jobs_are_known(self) -> None:
        assert self.open_journal().unfinished == sum(not plan.finished for plan in self.now)

    def left_is_right(self) -> None:
        left = [told(remainder) for remainder in self.open_journal().remainders()]
        assert left == [plan.told() for plan in self.now if not plan.finished]
        self.all_safe()

    @rule()
    def ask_what_is_left(self) -> None:
        self.left_is_right()

    def teardown(self) -> None:
        if self.journal is not None:
            self.left_is_right()
            (summary,) = works(os.path.dirname(os.path.dirname(self.journal.path)))
            assert [plan.job_id for plan in summary.plans] == [plan.job_id for plan in self.now]
            self.journal.close()
        shutil.rmtree(self.folder)


def test_a_journal_is_its_model_through_crashes() -> None:
    """What remains is what was told and is safe, after any steps, and after a crash between or within them."""
    run_state_machine_as_test(JournalMachine, settings=settings(max_examples=25, stateful_step_count=20, deadline=None))


@pytest.mark.more
@pytest.mark.timeout(1800)
def test_a_journal_is_its_model_through_many_crashes() -> None:
    """The same, many times more."""
    run_state_machine_as_test(
        JournalMachine, settings=settings(max_examples=500, stateful_step_count=50, deadline=None)
    )
