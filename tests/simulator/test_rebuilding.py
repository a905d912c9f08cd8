"""Copies that were given up or lost, made anew from what is left."""

from __future__ import annotations

from pathlib import Path

from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.simulator.clock import SimulatedClock
from tests.simulator.conftest import Bench, Build
from tests.simulator.test_suspects import degraded, suspect
from tests.simulator.wire import Wire

CONTENTS = {"a": b"a" * 500, "b": b"b" * 2500, "empty": b"", "c": b"c" * 1500}
BLOBS = 1 + 3 + 1 + 2
FORCE = "/_rest_/suspect_blob_tape?force"


def stored(build: Build, **settings: object) -> Bench:
    """Return an appliance with objects on tape."""
    bench = build(**{"blob_size": 1000, "chunk_size": 3000, "copies": 2, "tapes": 5, **settings})
    bench.wire.put_all("b", CONTENTS)
    bench.until_persisted()
    return bench


def tape_of(bench: Bench, domain: str) -> str:
    """Return the bar code of the one tape of a storage domain that can be read."""
    machine = bench.appliance.machine
    domain_id = machine.beans.find("StorageDomain", domain)["Id"]
    (tape,) = (tape for tape in machine.library.tapes.values() if tape.domain_id == domain_id and tape.usable)
    return tape.bar_code


def whole(bench: Bench) -> bool:
    """Tell whether nothing is degraded, and no rebuild is at work."""
    machine = bench.appliance.machine
    return not machine.degraded.has() and not machine.drives.tasks()


def got(bench: Bench) -> dict[str, bytes]:
    """Return the objects as they come from tape."""
    bench.reclaim()
    job = bench.wire.start_get("b", list(CONTENTS)).xml.attrib["JobId"]
    jobs = bench.appliance.machine.jobs
    size = sum(map(len, CONTENTS.values()))
    bench.until(lambda: jobs.find(job).cached == size, "the objects never came from tape")
    found: dict[str, bytes] = {}
    for name, data in CONTENTS.items():
        blobs = [bench.wire.get_blob("b", name, job, offset).body for offset in range(0, max(len(data), 1), 1000)]
        found[name] = b"".join(blobs)
    return found


def test_a_copy_that_was_given_up_is_made_of_the_other_one(build: Build) -> None:
    """It is on tape again at another place, is whole, and is enough when the one that it came from is lost."""
    bench = stored(build)
    bench.reclaim()
    for name in CONTENTS:
        suspect(bench, name)
    assert bench.wire.ask("PUT", FORCE).status == 204
    bench.until(lambda: whole(bench), "the copies were never made anew")
    assert bench.wire.ask("GET", "/_rest_/suspect_object").body == b"<Data/>"
    shown = bench.wire.ask("GET", "/_rest_/object?full_details&include_physical_placement").xml
    assert len(list(shown.iter("Tape"))) == 2 * BLOBS
    assert not list((bench.appliance.directory / "rebuild").iterdir())
    other = tape_of(bench, "Tape second copy")
    assert bench.wire.ask("PUT", f"/_rest_/tape/{other}?state=OFFLINE").status == 200
    assert got(bench) == CONTENTS


def test_what_the_cache_has_needs_no_other_copy(build: Build) -> None:
    """The only copy may be given up while the cache has the blobs; without either nothing can be done."""
    bench = stored(build, copies=1)
    suspect(bench, "a", "Tape first copy")
    suspect(bench, "c", "Tape first copy")
    assert bench.wire.ask("PUT", FORCE).status == 204
    bench.until(lambda: whole(bench))
    assert got(bench) == CONTENTS
    bench.reclaim()
    suspect(bench, "a", "Tape first copy")
    assert bench.wire.ask("PUT", FORCE).status == 204
    bench.until(lambda: not bench.appliance.machine.drives.tasks())
    assert len(degraded(bench)) == 1
    shown = bench.wire.ask("GET", "/_rest_/object?name=a&full_details&include_physical_placement").xml
    assert list(shown.iter("Tape")) == []


def test_a_lost_tape_is_replaced(build: Build) -> None:
    """What was on it is written to another tape of its storage domain."""
    bench = stored(build)
    lost = tape_of(bench, "Tape first copy")
    assert bench.wire.ask("PUT", f"/_rest_/tape/{lost}?state=LOST").status == 200
    bench.until(lambda: whole(bench))
    assert tape_of(bench, "Tape first copy") != lost
    assert bench.wire.ask("DELETE", f"/_rest_/tape/{lost}").status == 204
    assert bench.wire.ask("PUT", f"/_rest_/tape/{tape_of(bench, 'Tape second copy')}?state=LOST").status == 200
    assert got(bench) == CONTENTS


def test_without_a_tape_to_write_to_blobs_stay_degraded(build: Build) -> None:
    """They are made as soon as there is one; the library says meanwhile what it lacks."""
    bench = stored(build, tapes=2)
    lost = tape_of(bench, "Tape first copy")
    assert bench.wire.ask("PUT", f"/_rest_/tape/{lost}?state=LOST").status == 200
    machine = bench.appliance.machine
    bench.until(lambda: not machine.drives.tasks())
    assert len(degraded(bench)) == BLOBS
    assert len(bench.wire.ask("GET", "/_rest_/storage_domain_failure").xml) == 1
    with machine.store.lock:
        partition = machine.beans.all("TapePartition")[0]["Id"]
        machine.library.save(machine.library.add(machine.new_id(), "NEW001L8", "LTO8", partition, 1 << 40))
    bench.until(lambda: whole(bench))
    assert tape_of(bench, "Tape first copy") == "NEW001L8"


def test_a_tape_that_was_given_to_another_storage_domain_meanwhile_is_not_rebuilt_to(build: Build) -> None:
    """Chosen for a rebuild that has to wait, and begun by a put of another storage domain, a tape is left to that."""
    clock = SimulatedClock(1e6)
    bench = stored(build, clock=clock, timed=True, drives=1, tapes=4)
    machine, wire = bench.appliance.machine, bench.wire
    first, second = (machine.library.find(tape_of(bench, f"Tape {each} copy")) for each in ("first", "second"))
    blank, looked_at = (tape for tape in machine.library.tapes.values() if tape.domain_id is None)
    bench.until(lambda: machine.drives.all[0].tape is None)
    clock.set_pace(0.0)
    assert wire.ask("PUT", f"/_rest_/tape/{looked_at.bar_code}?operation=inspect").status == 200
    bench.until(lambda: machine.drives.all[0].task is not None)
    with machine.store.lock:
        first.full = True
        machine.library.save(first)
    assert wire.ask("PUT", f"/_rest_/tape/{second.bar_code}?state=LOST").status == 200
    assert [each.tape for each in machine.drives.tasks() if each.name == "WriteForRebuild"] == [blank]
    wire.put_all("b", {"later": b"l" * 700}, "&priority=URGENT")
    clock.set_pace(1000.0)
    bench.until_persisted()
    bench.until(lambda: whole(bench), "the copies were never made anew")
    with machine.store.lock:
        query = "SELECT DISTINCT tape, domain FROM copies WHERE tape <> ? ORDER BY 1"
        held = machine.store.db.execute(query, (second.n,)).fetchall()
    assert [tape for tape, _ in held] == [first.n, blank.n, looked_at.n]


def test_a_new_rule_gets_its_copies(build: Build) -> None:
    """A second storage domain that a data policy comes to ask for is filled with what there is."""
    bench = stored(build, copies=1)
    made = bench.wire.ask("POST", "/_rest_/storage_domain?name=second").xml.findtext("Id")
    partition = bench.wire.ask("GET", "/_rest_/tape_partition").xml[0].findtext("Id")
    member = f"storage_domain_id={made}&tape_partition_id={partition}&tape_type=LTO8"
    assert bench.wire.ask("POST", f"/_rest_/storage_domain_member?{member}").status == 201
    policy = bench.wire.ask("GET", "/_rest_/bucket/b").xml.findtext("DataPolicyId")
    rule = f"data_policy_id={policy}&storage_domain_id={made}&isolation_level=BUCKET_ISOLATED&type=PERMANENT"
    assert bench.wire.ask("POST", f"/_rest_/data_persistence_rule?{rule}").status == 201
    bench.until(lambda: whole(bench))
    shown = bench.wire.ask("GET", f"/_rest_/tape/{tape_of(bench, 'second')}").xml
    assert shown.findtext("BucketId") == bench.wire.ask("GET", "/_rest_/bucket/b").xml.findtext("Id")
    assert bench.wire.ask("PUT", f"/_rest_/tape/{tape_of(bench, 'Tape first copy')}?state=LOST").status == 200
    assert got(bench) == CONTENTS


def test_what_is_on_its_way_follows_the_rules_as_they_change(build: Build) -> None:
    """Without any rule a put waits for one; one that is added while it is written asks for another copy of it."""
    bench = build(SimulatedClock(0.0), timed=True, drives=1, copies=1)
    machine, wire = bench.appliance.machine, bench.wire

    def new_rule(policy: str | None, domain: str | None) -> None:
        rule = f"data_policy_id={policy}&storage_domain_id={domain}&isolation_level=STANDARD&type=PERMANENT"
        assert wire.ask("POST", f"/_rest_/data_persistence_rule?{rule}").status == 201

    first = wire.ask("GET", "/_rest_/storage_domain").xml[0].findtext("Id")
    second = wire.ask("POST", "/_rest_/storage_domain?name=second").xml.findtext("Id")
    partition = wire.ask("GET", "/_rest_/tape_partition").xml[0].findtext("Id")
    member = f"storage_domain_id={second}&tape_partition_id={partition}&tape_type=LTO8"
    assert wire.ask("POST", f"/_rest_/storage_domain_member?{member}").status == 201
    policy = wire.ask("POST", "/_rest_/data_policy?name=none").xml.findtext("Id")
    assert wire.ask("POST", f"/_rest_/bucket?name=lawless&data_policy_id={policy}").status == 201
    assert wire.ask("PUT", "/lawless/a", b"a" * 500).status == 200
    assert wire.ask("PUT", "/b/b", b"b" * 500).status == 200
    (drive,) = machine.drives.all
    bench.until(lambda: drive.task is not None)  # `a`, which was due before, has found no rule
    new_rule(wire.ask("GET", "/_rest_/bucket/b").xml.findtext("DataPolicyId"), second)
    new_rule(policy, first)
    assert isinstance(machine.clock, SimulatedClock)
    machine.clock.set_pace(10_000.0)
    bench.until_persisted()
    copies = "SELECT o.name, c.domain FROM copies c JOIN blobs b ON b.n = c.blob JOIN objects o ON o.n = b.object"
    with machine.store.lock:
        assert set(machine.store.db.execute(copies)) == {("a", first), ("b", first), ("b", second)}


def test_a_rebuild_is_taken_up_after_a_restart(tmp_path: Path) -> None:
    """What was given up is remembered, and made anew by whoever opens the folder next."""
    settings = ApplianceSettings(directory=str(tmp_path), copies=2, tapes=2, persist_delay=0.0, hold=0.0, seed=7)
    with Appliance(settings) as appliance:
        bench = Bench(appliance, Wire(appliance.endpoint, appliance.access_key, appliance.secret_key))
        bench.wire.ask("PUT", "/b")
        bench.wire.put_all("b", {"kept": b"kept" * 100})
        bench.until_persisted()
        bench.reclaim()
        full = tape_of(bench, "Tape first copy")
        with appliance.machine.store.lock:
            appliance.machine.library.find(full).write_protected = True
        suspect(bench, "kept")
        assert bench.wire.ask("PUT", FORCE).status == 204
        bench.until(lambda: not appliance.machine.drives.tasks())
        assert len(degraded(bench)) == 1
        bench.wire.close()
    with Appliance(settings) as appliance:
        bench = Bench(appliance, Wire(appliance.endpoint, appliance.access_key, appliance.secret_key))
        bench.until(lambda: not appliance.machine.degraded.has(), "nothing was made anew")
        bench.wire.close()
