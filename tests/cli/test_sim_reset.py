"""`ds3tool sim reset`: a new appliance at the same place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.errors import Ds3Error
from ds3tool.protocol.model import ObjectToPut
from ds3tool.transport.bodies import BytesBody
from tests.cli.sim_host import SimHost, sim_host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SimHost]:
    with sim_host(tmp_path) as host:
        yield host


def test_nothing_is_left_but_settings_keys_and_place(host: SimHost) -> None:
    """Buckets, objects, jobs and bytes are gone, tapes are empty; the same keys at the same port are good."""
    host.client.create_bucket("b")
    host.client.put_object("b", "x", BytesBody(b"x"))
    host.client.create_put_job("b", [ObjectToPut("y", 10)])
    before = (host.appliance.endpoint, host.appliance.access_key, host.appliance.secret_key)
    host.appliance.faults.set("slow", 0.25)
    done = host.sim("reset", "--yes", "-o", "json").expect().json
    assert (done["what"], done["endpoint"]) == ("all", before[0])
    assert (host.appliance.endpoint, host.appliance.access_key, host.appliance.secret_key) == before
    assert host.client.get_service().buckets == ()
    assert list(host.client.list_active_jobs()) == []
    machine = host.appliance.machine
    assert machine.cache.used == 0
    assert {tape.written for tape in machine.library.tapes.values()} == {0}
    assert [path for path in (machine.directory / "cache").rglob("*") if path.is_file()] == []
    assert host.appliance.faults.rate("slow") == 0.25
    host.client.create_bucket("b")
    host.client.put_object("b", "x", BytesBody(b"x"))


def test_it_does_again_what_it_did_first(host: SimHost) -> None:
    """With a seed, the ids of a reset appliance are those of its first start, and its faults strike as they did."""

    def once() -> tuple[str, str, str, list[bool]]:
        struck = []
        for _ in range(10):
            try:
                host.client.bucket_exists("b")
            except Ds3Error:
                struck.append(True)
            else:
                struck.append(False)
        host.appliance.faults.set("reset-before-reply", 0.0)
        host.client.create_bucket("b")
        job = host.client.create_put_job("b", [ObjectToPut("x", 10)]).job
        host.appliance.faults.set("reset-before-reply", 0.5)
        return host.appliance.machine.instance_id, host.appliance.machine.buckets.find("b").id, job.id, struck

    host.appliance.faults.set("reset-before-reply", 0.5)
    first = once()
    assert set(first[3]) == {True, False}
    host.ask("/reset", {"what": "all"})
    assert once() == first


def test_a_directory_that_was_reset_is_continued_as_that(tmp_path: Path) -> None:
    """What came after the reset is there after a restart, what came before is not."""
    with sim_host(tmp_path) as host:
        host.client.create_bucket("before")
        host.ask("/reset", {"what": "all"})
        host.client.create_bucket("after")
        keys = (host.appliance.access_key, host.appliance.secret_key)
    with sim_host(tmp_path) as host:
        assert [bucket.name for bucket in host.client.get_service().buckets] == ["after"]
        assert (host.appliance.access_key, host.appliance.secret_key) == keys


def test_it_is_safe_while_clients_are_at_work(host: SimHost) -> None:
    """They are cut off or refused, nothing breaks, and afterwards it serves as before."""
    stopping = threading.Event()
    troubles: list[Ds3Error] = []

    def work(number: int) -> None:
        from ds3tool.client import Ds3Client
        from ds3tool.transport.settings import ConnectionSettings

        appliance = host.appliance
        settings = ConnectionSettings(appliance.endpoint, keys[0], keys[1], max_retry_seconds=0.0)
        with Ds3Client(settings) as client:
            while not stopping.is_set():
                try:
                    if not client.bucket_exists(f"b{number}"):
                        client.create_bucket(f"b{number}")
                    client.put_object(f"b{number}", "x", BytesBody(b"x" * 100_000))
                    client.delete_object(f"b{number}", "x")
                except Ds3Error as error:
                    if "InternalError" in error.message:
                        troubles.append(error)

    keys = (host.appliance.access_key, host.appliance.secret_key)

    def look() -> None:
        while not stopping.is_set():
            assert host.ask("/status")["tapes"]

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    workers.append(threading.Thread(target=look))
    for worker in workers:
        worker.start()
    for _ in range(5):
        before = host.appliance.diary.last
        host.appliance.diary.wait(before, 30)
        host.ask("/reset", {"what": "all"})
    stopping.set()
    for worker in workers:
        worker.join()
    assert troubles == []
    host.ask("/reset", {"what": "all"})
    assert host.client.get_service().buckets == ()
    assert host.appliance.machine.cache.used == 0


def test_jobs_alone_are_cancelled(host: SimHost) -> None:
    """--jobs leaves buckets and objects, and ends what is active."""
    host.client.create_bucket("b")
    job = host.client.create_put_job("b", [ObjectToPut("y", 10)])
    assert host.sim("reset", "--jobs", "--yes", "-o", "json").expect().json["jobs"] == 1
    assert host.client.get_job(job.job.id).job.status == "CANCELED"
    assert [bucket.name for bucket in host.client.get_service().buckets] == ["b"]


def test_it_asks_first(host: SimHost) -> None:
    """Without --yes and without a terminal nothing happens."""
    host.client.create_bucket("b")
    assert "--yes" in host.sim("reset").expect(2).stderr
    assert len(host.client.get_service().buckets) == 1


def test_a_drive_that_waits_for_a_clock_that_stands_is_no_hindrance(tmp_path: Path) -> None:
    """What it was at is gone with the rest, and the clock goes on from where it stood."""
    with sim_host(tmp_path, timed=True, pace=0.0) as host:
        host.client.create_bucket("b")
        host.client.put_object("b", "x", BytesBody(b"x"))
        machine = host.appliance.machine
        with machine.jobs.changed:
            assert machine.jobs.changed.wait_for(lambda: machine.drives.loaded, 30)
        before = host.ask("/clock", {"step": 1.0})["clock"]["appliance_time"]
        host.ask("/reset", {"what": "all"})
        assert host.ask("/clock")["clock"]["appliance_time"] == before
        assert host.ask("/clock")["waiting"]["mounts"] == 0
        assert [drive["tape"] for drive in host.ask("/drives")["drives"]] == [None, None]
