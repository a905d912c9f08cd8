"""A job of which nothing moves for long is kept from expiring."""

from __future__ import annotations

import pytest

from ds3tool.errors import TransportError
from ds3tool.protocol.model import ReadyChunks
from tests.jobs.doubles import Stage, answer, blob, chunk


def waiting_for(hours: int) -> Stage:
    """An engine to which the appliance offers nothing for so many hours, and then all."""
    stage = Stage([chunk("c", blob("a"))])
    began = stage.clock.monotonic()

    def ready(_: int) -> ReadyChunks:
        return answer(*(stage.chunks if stage.clock.monotonic() - began >= hours * 3600 else ()))

    stage.client.ready = ready
    return stage


@pytest.mark.parametrize("hours", [0, 1, 30])
def test_job_is_touched_once_in_an_hour_without_a_blob(hours: int) -> None:
    """Polling may count as activity or not: well before a day has passed, the job is touched."""
    stage = waiting_for(hours)
    stage.run()
    assert stage.state.done == 1
    assert hours - 1 <= stage.client.touched <= hours


def test_touch_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and tried again an hour later."""
    stage = waiting_for(4)
    touches = []

    def fail(job_id: str) -> None:
        touches.append(job_id)
        raise TransportError("nobody answers")

    stage.client.touch_job = fail  # type: ignore[method-assign]  # one that fails
    stage.run()
    assert stage.state.done == 1
    assert len(touches) in {3, 4}
    assert "could not be kept from expiring" in caplog.text


def test_job_that_moves_is_not_touched() -> None:
    """Blobs that go through tell the appliance enough."""
    stage = Stage([chunk(f"c{number}", blob(f"k{number}")) for number in range(20)], transfers=1)
    stage.client.ready = lambda asked: answer(*stage.chunks[:asked])

    def act(number: int, _counter: object) -> str:
        stage.clock.advance(30 * 60)
        return f"digest {number}"

    stage.mover.act = act
    stage.run()
    assert stage.client.touched == 0
