"""The diary: what an appliance did lately, of bounded size, in the order in which it was written."""

from __future__ import annotations

import threading

from ds3tool.simulator.diary import Diary
from ds3tool.simulator.wire.http import Answered
from ds3tool.simulator.wire.messages import Request
from ds3tool.simulator.wire.targets import Target


class NoBody:
    """The body of a request that has none."""

    length = 0


def answered(path: str, *, status: int = 200, operation: str = "GetService") -> Answered:
    target = Target.parse(path)
    request = Request("GET", target, {}, [], NoBody(), "127.0.0.1", user="u", operation=operation)  # type: ignore[arg-type]  # nobody reads it
    return Answered(request, status, 0.001, 0, 10, True)


def test_only_the_latest_are_kept_and_all_are_counted() -> None:
    """Many requests push out older requests, and no deed; counts go on."""
    diary = Diary(requests=3, deeds=2)
    diary.deed("robot", "moved", at=1.0)
    for number in range(10):
        diary.answered(answered(f"/{number}", status=200 + number % 2), at=2.0)
    assert [entry.document.get("path") for entry in diary.latest(10)] == [None, "/7", "/8", "/9"]
    assert diary.counts() == {("GetService", 200): 5, ("GetService", 201): 5}
    assert diary.last == 11


def test_what_came_after_is_told_in_order_and_in_portions() -> None:
    """Both kinds, by their numbers, without a gap."""
    diary = Diary()
    for number in range(6):
        if number % 2:
            diary.answered(answered(f"/{number}"), at=1.0)
        else:
            diary.deed("robot", str(number), at=1.0)
    assert [entry.n for entry in diary.after(2, most=3)] == [3, 4, 5]
    assert [entry.n for entry in diary.after(5, most=3)] == [6]
    assert diary.after(6, most=3) == []
    assert diary.latest(0) == []


def test_a_request_whose_head_could_not_be_read_is_counted_without_a_name() -> None:
    """It has a status, and nothing else."""
    diary = Diary()
    diary.answered(Answered(None, 400, 0.0, 0, 0, True), at=1.0)
    assert diary.counts() == {("", 400): 1}
    (entry,) = diary.latest(1)
    assert (entry.document["operation"], entry.document["path"], entry.document["status"]) == (None, "", 400)


def test_a_path_of_any_length_takes_little_room() -> None:
    """A long one is cut."""
    diary = Diary()
    diary.answered(answered("/" + "x" * 50_000), at=1.0)
    (entry,) = diary.latest(1)
    assert len(entry.document["path"]) < 600


def test_whoever_waits_is_woken_by_what_is_written_and_by_the_end() -> None:
    """Not before, and not only when the time is over."""
    diary = Diary()
    woken: list[int] = []

    def wait() -> None:
        diary.wait(0, 60.0)
        woken.append(diary.last)
        diary.wait(diary.last, 60.0)
        woken.append(-1)

    waiter = threading.Thread(target=wait)
    waiter.start()
    diary.deed("robot", "moved", at=1.0)
    diary.close()
    waiter.join(30)
    assert not waiter.is_alive()
    assert woken == [1, -1]
