"""Buckets that are deleted or changed while requests to them are under way."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from ds3tool.simulator.dispatch import Call
from ds3tool.simulator.handlers.service import remove_bucket
from ds3tool.simulator.wire.refusals import Refusal
from tests.simulator.conftest import Bench
from tests.simulator.wire import Wire

_LIST = b'<Objects><Object Name="a" Size="10"/><Object Name="b" Size="0"/></Objects>'


def _interrupted(wire: Wire, verb: str, target: str, body: bytes, meanwhile: Callable[[], None]) -> tuple[int, bytes]:
    """Make a request, do something when its body is asked for, send that; return the status, and all of the reply."""
    headers = {**wire.signed_headers(verb, target, {}), "Content-Length": str(len(body)), "Expect": "100-continue"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((wire.host, wire.port or 0), timeout=30) as connection:
        connection.sendall(f"{verb} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{head}\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        meanwhile()
        connection.sendall(body)
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(reply.split()[1]), reply


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/b/a", b"a" * 1000),
        ("/_rest_/bucket/b?operation=start_bulk_put", _LIST),
    ],
)
def test_nothing_comes_into_a_bucket_that_was_deleted_meanwhile(
    bench: Bench, target: str, body: bytes, *, again: bool
) -> None:
    """404 and not a 200 for what nobody could ever get, though there is another one of its name; the drives go on."""
    wire, db = bench.wire, bench.appliance.machine.store.db

    def meanwhile() -> None:
        assert wire.ask("DELETE", "/b").status == 204
        assert not again or wire.ask("PUT", "/b").status == 200

    status, reply = _interrupted(wire, "PUT", target, body, meanwhile)
    assert (status, b"NoSuchBucket" in reply) == (404, True)
    assert db.execute("SELECT count(*) FROM objects").fetchone() == (0,)
    assert (bench.appliance.machine.jobs.active, bench.cache_used) == ({}, 0)
    wire.ask("PUT", "/other")
    wire.put_all("other", {"c": b"c" * 100})
    bench.until_persisted()


def test_a_put_job_does_not_undo_what_was_changed_meanwhile(bench: Bench) -> None:
    """A bucket that is protected while a list of objects is on its way stays so."""
    wire = bench.wire

    def meanwhile() -> None:
        assert wire.ask("PUT", "/_rest_/bucket/b?protected=true").status == 200

    status, _ = _interrupted(wire, "PUT", "/_rest_/bucket/b?operation=start_bulk_put", _LIST, meanwhile)
    assert status == 200
    assert wire.ask("GET", "/_rest_/bucket/b").xml.findtext("Protected") == "true"


def test_a_job_whose_bucket_goes_before_it_is_answered_is_a_404(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fails when the bucket is deleted between the making of a job and its document."""
    machine = bench.appliance.machine
    create = machine.planner.create_put

    def create_and_delete(*values: object) -> object:
        job = create(*values)  # type: ignore[arg-type] # as it was called
        with machine.store.writing() as db:
            machine.buckets.remove(db, machine.buckets.named("b"))
        return job

    monkeypatch.setattr(machine.planner, "create_put", create_and_delete)
    refused = bench.wire.start_put("b", {"a": 10})
    assert (refused.status, refused.code) == (404, "NoSuchBucket")


def test_who_deletes_a_bucket_twice_does_not_delete_the_next_one_of_its_name(bench: Bench) -> None:
    """The second of two who delete a bucket comes when there is a new one of that name: that one stays."""
    wire, buckets = bench.wire, bench.appliance.machine.buckets
    deleted = buckets.named("b")
    assert wire.ask("DELETE", "/b").status == 204
    assert wire.ask("PUT", "/b").status == 200
    call = cast("Call", SimpleNamespace(machine=bench.appliance.machine))
    with pytest.raises(Refusal, match="NoSuchBucket"):
        remove_bucket(call, deleted, force=True)
    assert wire.ask("HEAD", "/b").status == 200
    assert wire.ask("PUT", "/b").status == 409
