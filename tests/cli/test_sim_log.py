"""`ds3tool sim log`: what an appliance did lately."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ds3tool.cli import appliances, sim_log
from ds3tool.errors import Ds3Error
from ds3tool.transport.bodies import BytesBody
from tests.cli.sim_host import SimHost, sim_host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SimHost]:
    with sim_host(tmp_path) as host:
        yield host


def test_requests_and_what_drives_did_are_told_in_order(host: SimHost) -> None:
    """Each request with user, verb, path, operation, status, milliseconds and bytes; each deed with its tape."""
    host.client.create_bucket("b")
    host.client.put_object("b", "a key", BytesBody(b"x" * 700))
    machine = host.appliance.machine
    with machine.jobs.changed:
        assert machine.jobs.changed.wait_for(lambda: not machine.jobs.active, 30)
    host.client.bucket_exists("c")
    host.until_noted(3)
    lines = host.sim("log", "-o", "ndjson").expect().lines
    assert [line["n"] for line in lines] == sorted(line["n"] for line in lines)
    requests = [line for line in lines if line["kind"] == "request"]
    told = [(each["user"], each["verb"], each["path"], each["operation"], each["status"]) for each in requests]
    assert told == [
        ("Administrator", "PUT", "/b", "PutBucket", 200),
        ("Administrator", "PUT", "/b/a%20key", "PutObject", 200),
        ("Administrator", "HEAD", "/c", "HeadBucket", 404),
    ]
    assert [(each["received"], each["whole"]) for each in requests] == [(0, True), (700, True), (0, True)]
    assert all(each["milliseconds"] > 0 for each in requests)
    assert {line["seed"] for line in lines} == {3}
    deeds = [(line["by"], line["tape"]) for line in lines if line["kind"] == "deed"]
    assert ("drive SIMDRIVE001", "SIM001L8") in deeds or ("drive SIMDRIVE002", "SIM001L8") in deeds
    table = host.sim("log").expect().stdout
    assert "200 PutObject PUT /b/a%20key (" in table
    assert "700 B in" in table
    assert "mounted SIM001L8" in table


def test_the_tail_is_as_long_as_asked_for(host: SimHost) -> None:
    """The newest entries, the oldest of them first; none for 0."""
    for number in range(5):
        host.client.bucket_exists(f"b{number}")
    host.until_noted(5)
    assert [line["path"] for line in host.sim("log", "--tail", "2", "-o", "json").expect().json] == ["/b3", "/b4"]
    assert host.ask("/log", tail=0)["entries"] == []
    assert [line["path"] for line in host.ask("/log", after=3)["entries"]] == ["/b3", "/b4"]
    assert host.ask("/log", after=5)["entries"] == []


def test_a_request_that_was_cut_has_no_status(host: SimHost) -> None:
    """It is told all the same, as broken off."""
    host.appliance.faults.set("reset-before-reply", 1.0)
    with pytest.raises(Exception, match=r"reset|closed|answer"):
        host.client.get_service()
    host.until_noted(1)
    (line,) = host.ask("/log")["entries"]
    assert (line["status"], line["whole"], line["operation"]) == (None, False, "GetService")
    assert "broken off" in host.sim("log").expect().stdout


def test_what_comes_is_followed(host: SimHost) -> None:
    """Entries come as they are written, each once, without a gap."""
    host.client.bucket_exists("before")
    host.until_noted(1)
    appliance = appliances.in_directory(host.appliance.directory)
    assert appliance is not None
    told = host.ask("/log", tail=1)
    seen: list[str] = []
    both = threading.Event()

    def follow() -> None:
        for line in sim_log._followed(appliance, told):
            seen.append(line.told["path"])
            if len(seen) == 3:
                both.set()
                return

    follower = threading.Thread(target=follow)
    follower.start()
    host.client.bucket_exists("one")
    host.client.bucket_exists("two")
    assert both.wait(30)
    follower.join()
    assert seen == ["/before", "/one", "/two"]
    assert "has no end" in host.sim("log", "--follow", "-o", "json").expect(2).stderr


def test_the_end_of_the_appliance_is_the_end_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its controls end before it does: who follows waits for it to be gone, and takes that for no failure."""
    refused = threading.Event()

    def refuse(*_: object, **__: object) -> dict[str, Any]:
        refused.set()
        raise Ds3Error("the controls do not answer")

    with ThreadPoolExecutor(1) as threads:
        with sim_host(tmp_path) as host:
            appliance = appliances.in_directory(host.appliance.directory)
            assert appliance is not None
            told = host.ask("/log", tail=0)
            monkeypatch.setattr(sim_log, "ask", refuse)
            followed = threads.submit(lambda: list(sim_log._followed(appliance, told)))
            assert refused.wait(30)
        assert followed.result(30) == []


def test_the_same_seed_and_requests_have_the_same_ids_and_faults(tmp_path: Path) -> None:
    """What went wrong once goes wrong again with the seed that the log names."""

    def once(folder: Path) -> list[tuple[object, ...]]:
        from ds3tool.simulator import parse_rates

        with sim_host(folder, seed=11, faults=parse_rates(["error-500=0.5"])) as host:
            for number in range(12):
                try:
                    host.client.create_bucket(f"b{number}")
                except Exception:  # noqa: BLE001 - the fault that is looked for
                    continue
            host.until_noted(12)
            lines = host.ask("/log")["entries"]
            made = [bucket.id for bucket in host.appliance.machine.buckets.all()]
        return [(line.get("path"), line.get("status")) for line in lines] + [("ids", *made)]

    first = once(tmp_path / "one")
    assert {status for path, status, *_ in first[:-1]} == {200, 500}
    assert once(tmp_path / "two") == first
