"""An appliance that ends, in order or not, and is started again over its directory."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ds3tool.errors import LockedError, UsageError
from ds3tool.simulator import STATE_FILE, Appliance, ApplianceSettings
from ds3tool.simulator.clock import ManualClock
from tests.simulator.conftest import Bench, Build
from tests.simulator.wire import Wire

_SERVE = """
import sys
from ds3tool.simulator import Appliance, ApplianceSettings
appliance = Appliance(ApplianceSettings(directory=sys.argv[1], blob_size=1000, chunk_size=3000, persist_delay=3600.0))
appliance.start()
print(appliance.endpoint, flush=True)
appliance.serve_forever()
"""


def _bench(appliance: Appliance) -> Bench:
    return Bench(appliance, Wire(appliance.endpoint, appliance.access_key, appliance.secret_key))


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    """Keys, buckets, objects, jobs under way, the cache's account, tapes that were ejected."""
    settings = ApplianceSettings(
        directory=str(tmp_path), blob_size=1000, chunk_size=3000, persist_delay=0.0, access_key="mine", tapes=3
    )
    with Appliance(settings) as appliance:
        first = _bench(appliance)
        secret = appliance.secret_key
        first.wire.ask("PUT", "/b")
        first.wire.put_all("b", {"stored": b"s" * 2500})
        first.until_persisted()
        put = first.wire.start_put("b", {"half": 1500, "later": 4000}).xml.attrib["JobId"]
        first.wire.put_blob("b", "half", put, 0, b"h" * 1000, **{"x-amz-meta-a": "1"})
        get = first.wire.start_get("b", ["stored"]).xml.attrib["JobId"]
        first.wire.get_blob("b", "stored", get, 1000)
        first.wire.ask("PUT", "/_rest_/tape/SIM003L8?operation=eject&eject_label=away")
        first.until(lambda: appliance.machine.library.find("SIM003L8").state == "EJECTED")
        used = first.cache_used
        shown = {job: first.wire.job(job).attrib for job in (put, get)}
        blobs = {job: [blob.attrib for blob in first.wire.job(job).iter("Object")] for job in (put, get)}
        first.wire.close()
    with Appliance(settings) as appliance:
        second = _bench(appliance)
        assert (appliance.access_key, appliance.secret_key) == ("mine", secret)
        assert second.cache_used == used
        assert {job: second.wire.job(job).attrib for job in (put, get)} == shown
        assert {job: [blob.attrib for blob in second.wire.job(job).iter("Object")] for job in (put, get)} == blobs
        assert second.wire.ask("GET", "/_rest_/tape/SIM003L8").xml.findtext("EjectLabel") == "away"
        contents = {"half": b"h" * 1500, "later": b"l" * 4000}
        assert second.wire.send("b", put, contents, second.wire.job(put)) == 5
        assert second.wire.get_blob("b", "stored", get, 0).body == b"s" * 1000
        assert second.wire.get_blob("b", "stored", get, 2000).body == b"s" * 500
        assert second.wire.job(get).get("Status") == "COMPLETED"
        second.until_persisted()
        assert second.wire.job(put).get("CompletedSizeInBytes") == "5500"
        assert second.wire.ask("HEAD", "/b/half").headers["x-amz-meta-a"] == "1"
        second.reclaim()
        assert second.cache_used == 0
        second.wire.close()


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """After kill -9 in the middle of a job every blob that got its 200 is there, and the job goes on."""
    process = subprocess.Popen([sys.executable, "-c", _SERVE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    endpoint = process.stdout.readline().strip()
    told = json.loads((tmp_path / STATE_FILE).read_text())
    wire = Wire(endpoint, told["access_key"], told["secret_key"])
    assert wire.ask("PUT", "/b").status == 200
    contents = {f"o{number}": os.urandom(1500) for number in range(20)}
    job = wire.start_put("b", dict.fromkeys(contents, 1500)).xml.attrib["JobId"]
    sent = list(contents)[:11]
    for name in sent:
        for offset in (0, 1000):
            assert wire.put_blob("b", name, job, offset, contents[name][offset : offset + 1000]).status == 200
    assert wire.ask("PUT", "/b/naked", b"naked").status == 200
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    wire.close()
    with Appliance(
        ApplianceSettings(directory=str(tmp_path), blob_size=1000, chunk_size=3000, persist_delay=0.0)
    ) as again:
        bench = _bench(again)
        received = {blob.get("Name") for blob in bench.wire.job(job).iter("Object") if blob.get("InCache") == "true"}
        assert received == set(sent)
        assert bench.wire.send("b", job, contents, bench.wire.job(job)) == 18
        bench.until_persisted()
        bench.reclaim()
        get = bench.wire.start_get("b", list(contents)).xml.attrib["JobId"]
        for name, data in contents.items():
            parts = []
            for offset in (0, 1000):
                reply = bench.wire.get_blob("b", name, get, offset)
                while reply.status == 307:
                    reply = bench.wire.get_blob("b", name, get, offset)
                parts.append(reply.body)
            assert b"".join(parts) == data
        bench.wire.close()


def test_persistence_that_was_due_goes_on_after_a_restart(tmp_path: Path) -> None:
    """Chunks that waited for their tape when the appliance closed reach it."""
    clock = ManualClock()
    settings = ApplianceSettings(directory=str(tmp_path), persist_delay=3600.0)
    with Appliance(settings, clock=clock) as appliance:
        wire = Wire(appliance.endpoint, appliance.access_key, appliance.secret_key, now=clock.now)
        wire.ask("PUT", "/b")
        job = wire.put_all("b", {"a": b"hello"})
        wire.ask("PUT", "/b/naked", b"hello")
        wire.close()
    with Appliance(ApplianceSettings(directory=str(tmp_path), persist_delay=0.0), clock=clock) as appliance:
        bench = Bench(appliance, Wire(appliance.endpoint, appliance.access_key, appliance.secret_key, now=clock.now))
        bench.until_persisted()
        assert bench.wire.job(job).get("Status") == "COMPLETED"
        bench.reclaim()
        assert bench.cache_used == 0
        bench.wire.close()


def test_cached_bytes_that_vanished_have_to_be_sent_again(tmp_path: Path) -> None:
    """A lost cache file is not told as received after the restart; a stray one goes."""
    settings = ApplianceSettings(directory=str(tmp_path), persist_delay=3600.0)
    with Appliance(settings) as appliance:
        bench = _bench(appliance)
        bench.wire.ask("PUT", "/b")
        job = bench.wire.put_all("b", {"a": b"hello", "c": b"there"})
        bench.wire.close()
    files = sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    files[0].unlink()
    stray = files[0].parent / "99999.3.part"
    stray.write_bytes(b"half")
    with Appliance(settings) as appliance:
        bench = _bench(appliance)
        assert not stray.exists()
        assert sorted(blob.get("InCache") or "" for blob in bench.wire.job(job).iter("Object")) == ["false", "true"]
        assert bench.wire.send("b", job, {"a": b"hello", "c": b"there"}, bench.wire.job(job)) == 1
        assert bench.wire.ask("GET", "/b/a").body == b"hello"
        bench.wire.close()


def test_one_directory_serves_one_appliance(tmp_path: Path) -> None:
    """A second one is refused with a way out, and the first goes on."""
    settings = ApplianceSettings(directory=str(tmp_path))
    with Appliance(settings) as appliance:
        with pytest.raises(LockedError) as caught:
            Appliance(settings).start()
        assert caught.value.hint
        bench = _bench(appliance)
        assert bench.wire.ask("GET", "/").status == 200
        bench.wire.close()


def test_the_state_file_tells_where_it_listens_to_its_owner_only(tmp_path: Path) -> None:
    """Process, port and keys, mode 0600, gone when it closes; nobody else reads the keys in the state either."""
    tmp_path.chmod(0o755)
    (tmp_path / "state.sqlite").touch(0o644)  # as a release before may have left it
    with Appliance(ApplianceSettings(directory=str(tmp_path))) as appliance:
        path = tmp_path / STATE_FILE
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir() if each.is_file()}
        assert {"state.sqlite", "state.sqlite-wal", STATE_FILE} <= modes.keys()
        assert [name for name, mode in modes.items() if mode & 0o077 and name != "lock"] == []
        told = json.loads(path.read_text())
        assert (told["pid"], told["port"], told["secret_key"]) == (os.getpid(), appliance.port, appliance.secret_key)
    assert not path.exists()


def test_a_port_that_is_taken_is_told(build: Build) -> None:
    """UsageError with a hint, and no directory is left."""
    taken = build().appliance.port
    with pytest.raises(UsageError) as caught:
        Appliance(ApplianceSettings(port=taken)).start()
    assert caught.value.hint


def test_a_seed_makes_ids_and_keys_repeatable() -> None:
    """Two appliances of one seed have the same keys and the same ids; without a seed they have not."""

    def made(seed: int | None) -> tuple[str, str]:
        with Appliance(ApplianceSettings(seed=seed)) as appliance:
            return appliance.secret_key, appliance.machine.instance_id

    assert made(3) == made(3)
    assert made(3) != made(4)
    assert made(None) != made(None)


def test_a_seeded_appliance_gives_no_id_twice_after_a_restart(tmp_path: Path) -> None:
    """Ids are repeatable and go on: what is made after a restart has none that something has already."""
    settings = ApplianceSettings(directory=str(tmp_path), seed=5)
    ids = []
    for _ in range(3):
        with Appliance(settings) as appliance:
            ids += [appliance.machine.new_id() for _ in range(20)]
    assert len(set(ids)) == 60


def test_serve_forever_ends_when_it_is_stopped() -> None:
    """`stop` from another thread lets it close everything and return."""
    import threading

    appliance = Appliance().start()
    directory = appliance.machine.directory
    thread = threading.Thread(target=appliance.serve_forever)
    started = time.monotonic()
    thread.start()
    appliance.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert appliance.wait(0)
    assert not directory.exists()
    assert time.monotonic() - started < 30
