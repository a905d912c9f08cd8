"""Data policies, persistence rules, storage domains and the appliance's own settings: what they admit, and when."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ds3tool.simulator import ApplianceSettings
from tests.simulator.desk import Desk, desk_of, fresh_name


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    """One appliance; each test gives its records names of their own."""
    with desk_of(ApplianceSettings(persist_delay=0.0, hold=0.0, retry_after=0, seed=7)) as desk:
        yield desk


# Data policies, rules, storage domains.


@pytest.mark.parametrize(
    ("resource", "parameters", "status"),
    [
        ("storage_domain_member", {"tape_partition_id": "none", "tape_type": "LTO8"}, 404),
        ("storage_domain_member", {"tape_partition_id": "Partition 1", "tape_type": "LTO_CLEANING_TAPE"}, 400),
        ("storage_domain_member", {"tape_partition_id": "Partition 1", "tape_type": "LTO9"}, 400),
        ("storage_domain_member", {"tape_partition_id": "Partition 1", "tape_type": "TS_JC"}, 400),
        ("storage_domain_member", {"tape_partition_id": "Partition 1", "tape_type": "LTO7"}, 201),
        ("storage_domain_member", {"tape_partition_id": "Partition 1"}, 400),
    ],
)
def test_a_member_is_of_tapes_that_the_partitions_drives_write(
    desk: Desk, resource: str, parameters: dict[str, str], status: int
) -> None:
    """A partition that is there, a type of tape that its LTO-8 drives write."""
    domain = desk.create("storage_domain", name=fresh_name())
    assert desk.status("POST", resource, storage_domain_id=domain, **parameters) == status


@pytest.mark.parametrize("priority", ["critical", "BACKGROUND"])
def test_priorities_of_the_appliance_are_nobodys_to_set(desk: Desk, priority: str) -> None:
    """No policy may have them for its jobs and no verification for its work, but they may be looked for."""
    policy = desk.create("data_policy", name=fresh_name())
    assert desk.status("PUT", f"data_policy/{policy}", default_put_job_priority=priority) == 400
    assert desk.status("PUT", f"data_policy/{policy}", default_put_job_priority="urgent") == 200
    assert desk.status("POST", "data_policy", name=fresh_name(), rebuild_priority=priority) == 400
    assert desk.status("PUT", "tape", operation="verify", task_priority=priority) == 400
    assert desk.status("GET", "active_job", priority=priority) == 200


def test_files_named_after_objects_have_no_versions(desk: Desk) -> None:
    """A domain with LTFS names of objects and a policy with versions exclude each other, whichever comes first."""
    domain = desk.create("storage_domain", name=fresh_name(), ltfs_file_naming="OBJECT_NAME")
    policy = desk.create("data_policy", name=fresh_name(), versioning="KEEP_LATEST")
    rule = {"storage_domain_id": domain, "type": "PERMANENT", "isolation_level": "STANDARD"}
    assert desk.status("POST", "data_persistence_rule", data_policy_id=policy, **rule) == 400
    assert desk.status("PUT", "data_policy", policy, versioning="NONE") == 200
    desk.create("data_persistence_rule", data_policy_id=policy, **rule)
    assert desk.status("PUT", "data_policy", policy, versioning="KEEP_LATEST") == 400
    assert desk.status("PUT", "storage_domain", domain, ltfs_file_naming="OBJECT_ID") == 200
    assert desk.status("PUT", "data_policy", policy, versioning="KEEP_LATEST") == 200
    assert desk.status("PUT", "storage_domain", domain, ltfs_file_naming="OBJECT_NAME") == 400


def test_what_holds_data_cannot_go(desk: Desk) -> None:
    """Policy, rule, member and storage domain of an object on tape stay: 409 each."""
    policy, rule, bucket = desk.stored()
    domain = desk.ask("GET", "data_persistence_rule", rule).xml.findtext("StorageDomainId") or ""
    tape = next(each for each in desk.ask("GET", "tape").xml if each.findtext("StorageDomainMemberId"))
    assert desk.status("DELETE", "data_policy", policy) == 409
    assert desk.status("DELETE", "data_persistence_rule", rule) == 409
    assert desk.status("PUT", "data_persistence_rule", rule, type="RETIRED") == 409
    assert desk.status("DELETE", "storage_domain", domain) == 409
    assert desk.status("DELETE", "storage_domain_member", tape.findtext("StorageDomainMemberId") or "") == 409
    assert desk.status("DELETE", "bucket", bucket, force="") == 204
    assert desk.status("DELETE", "data_policy", policy) == 204


def test_a_bucket_that_moves_gets_the_copies_of_its_new_policy(desk: Desk) -> None:
    """What it holds comes to the storage domains of the policy that it was given."""
    _, _, bucket = desk.stored()
    domain, policy = desk.create("storage_domain", name=fresh_name()), desk.create("data_policy", name=fresh_name())
    desk.create("storage_domain_member", storage_domain_id=domain, tape_partition_id="Partition 1", tape_type="LTO8")
    rule = {"data_policy_id": policy, "storage_domain_id": domain}
    desk.create("data_persistence_rule", type="PERMANENT", isolation_level="STANDARD", **rule)
    assert desk.status("PUT", "bucket", bucket, data_policy_id=policy) == 200
    machine = desk.appliance.machine
    query = "SELECT count(*) FROM copies WHERE domain = ?"
    with machine.jobs.changed:
        copied = machine.jobs.changed.wait_for(lambda: machine.store.db.execute(query, (domain,)).fetchone()[0], 60)
    assert copied == 1


def test_a_rule_for_objects_that_are_there_has_to_include_them(desk: Desk) -> None:
    """A second rule is INCLUSION_IN_PROGRESS while an object lacks its copy, and NORMAL when none does."""
    policy, first, bucket = desk.stored()
    second = desk.create("storage_domain", name=fresh_name())
    rule = {"storage_domain_id": second, "isolation_level": "STANDARD", "type": "TEMPORARY"}
    made = desk.create("data_persistence_rule", data_policy_id=policy, minimum_days_to_retain=3, **rule)
    state = {"data_policy_id": policy, "state": "INCLUSION_IN_PROGRESS"}
    assert desk.listed("data_persistence_rule", "Id", **state) == [made]
    assert desk.ask("GET", "data_persistence_rule", first).xml.findtext("State") == "NORMAL"
    assert desk.ask("PUT", "data_persistence_rule", made, type="RETIRED").xml.findtext("State") == "NORMAL"
    assert desk.ask("GET", "data_persistence_rule", made).xml.findtext("MinimumDaysToRetain") == ""
    back = desk.ask("PUT", "data_persistence_rule", made, type="PERMANENT").xml
    assert back.findtext("State") == "INCLUSION_IN_PROGRESS"
    assert desk.status("DELETE", "bucket", bucket, force="") == 204
    assert desk.ask("GET", "data_persistence_rule", made).xml.findtext("State") == "NORMAL"


def test_only_temporary_rules_have_days(desk: Desk) -> None:
    """A PERMANENT rule with days is refused, made or changed."""
    policy, domain = desk.create("data_policy", name=fresh_name()), desk.create("storage_domain", name=fresh_name())
    rule = {"data_policy_id": policy, "storage_domain_id": domain, "isolation_level": "STANDARD"}
    assert desk.status("POST", "data_persistence_rule", type="PERMANENT", minimum_days_to_retain=1, **rule) == 400
    made = desk.create("data_persistence_rule", type="PERMANENT", **rule)
    assert desk.status("PUT", "data_persistence_rule", made, minimum_days_to_retain=1) == 400
    assert desk.status("PUT", "data_persistence_rule", made, minimum_days_to_retain=1, type="TEMPORARY") == 200


def test_a_storage_domain_becomes_another_appliance(desk: Desk) -> None:
    """Its rules replicate to the target then, and it is gone."""
    other = {"admin_auth_id": "a", "admin_secret_key": "s", "data_path_end_point": "far.example"}
    target = desk.create("ds3_target", name=fresh_name(), **other)
    policy, domain = desk.create("data_policy", name=fresh_name()), desk.create("storage_domain", name=fresh_name())
    rule = {"data_policy_id": policy, "storage_domain_id": domain, "isolation_level": "STANDARD"}
    desk.create("data_persistence_rule", type="PERMANENT", **rule)
    assert desk.status("PUT", "storage_domain", domain, convert_to_ds3_target=target) == 204
    assert desk.status("GET", "storage_domain", domain) == 404
    assert desk.listed("data_persistence_rule", "Id", data_policy_id=policy) == []
    assert desk.listed("ds3_data_replication_rule", "TargetId", data_policy_id=policy) == [target]


def test_a_density_directive_is_made_once_and_fits_the_tape(desk: Desk) -> None:
    """LTO-7 tapes may be written by LTO-8 drives, no TS tape may; a second directive is a 409."""
    directive = {"partition_id": "Partition 1", "tape_type": "LTO7"}
    assert desk.status("POST", "tape_density_directive", density="TS1160", **directive) == 400
    made = desk.create("tape_density_directive", density="LTO8", **directive)
    assert desk.status("POST", "tape_density_directive", density="LTO7", **directive) == 409
    assert desk.status("DELETE", "tape_density_directive", made) == 204


# The appliance's own settings.


@pytest.mark.parametrize(
    "parameters",
    [
        {"burst_threshold": "1.5"},
        {"auto_reclaim_initiate_threshold": "0"},
        {"auto_reclaim_initiate_threshold": "0.5", "auto_reclaim_terminate_threshold": "0.6"},
        {"auto_reclaim_initiate_threshold": "half"},
        {"max_capacity_in_bytes": "0"},
    ],
)
def test_thresholds_of_the_cache_are_fractions_in_order(desk: Desk, parameters: dict[str, str]) -> None:
    """Anything else is a 400 and changes nothing."""
    cache = desk.listed("cache_filesystem", "Id")[0]
    before = desk.ask("GET", "cache_filesystem", cache).body
    assert desk.status("PUT", "cache_filesystem", cache, **parameters) == 400
    assert desk.ask("GET", "cache_filesystem", cache).body == before


def test_another_capacity_of_the_cache_counts_at_once() -> None:
    """What is on tape leaves a cache that was made smaller, and the smaller one admits no more than it holds."""
    with desk_of(ApplianceSettings(persist_delay=0.0, hold=0.0, retry_after=0)) as desk:
        assert desk.wire.ask("PUT", "/b").status == 200
        desk.wire.put_all("b", {"a": b"x" * 3000})
        machine = desk.appliance.machine
        with machine.jobs.changed:
            assert machine.jobs.changed.wait_for(lambda: not machine.jobs.active, 60)
        cache = desk.listed("cache_filesystem", "Id")[0]
        assert desk.status("PUT", "cache_filesystem", cache, max_capacity_in_bytes=2000) == 200
        state = desk.ask("GET", "cache_state").xml
        assert state.findtext("Filesystems/UsedCapacityInBytes") == "0"
        assert state.findtext("Filesystems/AvailableCapacityInBytes") == "2000"


def test_an_appliance_takes_another_identity(desk: Desk) -> None:
    """The instance's id is another one from then on, wherever it is told; nothing else is."""
    before = desk.ask("GET", "system_information").xml.findtext("InstanceId")
    bucket = desk.create("bucket", name=fresh_name())
    after = desk.ask("PUT", "instance_identifier").xml.findtext("InstanceId")
    assert after != before
    assert desk.ask("GET", "system_information").xml.findtext("InstanceId") == after
    assert desk.ask("GET", "data_path_backend").xml.findtext("InstanceId") == after
    assert desk.status("GET", "bucket", bucket) == 200


def test_capacity_is_told_of_the_system_a_domain_and_a_bucket(desk: Desk) -> None:
    """Filters of type and state leave tapes out; a bucket's share is its bytes in the domain."""
    _, _, bucket = desk.stored()
    whole = desk.ask("GET", "capacity_summary").xml
    none = desk.ask("GET", "capacity_summary", tape_type="LTO5").xml
    assert int(whole.findtext("Tape/PhysicalFree") or 0) > 0
    assert none.findtext("Tape/PhysicalFree") == "0"
    assert desk.ask("GET", "capacity_summary", tape_state="LOST").xml.findtext("Tape/PhysicalUsed") == "0"
    domain = {"storage_domain_id": "Tape first copy"}
    free = desk.ask("GET", "capacity_summary", **domain).xml.findtext("Tape/PhysicalFree")
    assert int(free or 0) < int(whole.findtext("Tape/PhysicalFree") or 0)
    share = desk.ask("GET", "capacity_summary", bucket_id=bucket, **domain).xml
    assert share.findtext("Tape/PhysicalUsed") == "1"
    assert desk.status("GET", "capacity_summary", storage_domain_id="none") == 404


def test_what_a_target_is_asked_for_is_put_on_record(desk: Desk) -> None:
    """An import fails as nothing is reached, a full verification finds nothing; both stand in the failures."""
    target = desk.create("azure_target", name=fresh_name(), account_name="a", account_key="k")
    assert desk.status("PUT", "azure_target", target, operation="import", cloud_bucket_name="far") == 204
    verified = desk.ask("PUT", "azure_target", target, operation="verify", full_details="")
    assert verified.xml.findtext("LastFullyVerified")
    assert set(desk.listed("azure_target_failure", "Type", target_id=target)) == {"IMPORT_FAILED", "VERIFY_COMPLETE"}
    failure = desk.listed("azure_target_failure", "Id", target_id=target)[0]
    assert desk.status("DELETE", "azure_target_failure", failure) == 204


def test_a_bucket_under_way_keeps_its_kind_of_checksum(desk: Desk) -> None:
    """A policy with another checksum cannot be given to a bucket that is receiving blobs, one with the same can."""
    same, other, bucket = fresh_name(), fresh_name(), fresh_name()
    desk.create("data_policy", name=same)
    desk.create("data_policy", name=other, checksum_type="CRC_32C")
    desk.create("bucket", name=bucket)
    job = desk.wire.start_put(bucket, {"a": 1}).xml.attrib["JobId"]
    assert desk.status("PUT", "bucket", bucket, data_policy_id=other) == 409
    assert desk.status("PUT", "bucket", bucket, data_policy_id=same) == 200
    assert desk.status("DELETE", "job", job, force="") == 204
    assert desk.status("PUT", "bucket", bucket, data_policy_id=other) == 200


def test_a_data_path_that_is_not_activated_takes_no_jobs(desk: Desk) -> None:
    """503 until it is activated; the appliance tells so of itself."""
    bucket = fresh_name()
    desk.create("bucket", name=bucket)
    assert desk.status("PUT", "data_path_backend", activated="false") == 200
    assert desk.ask("GET", "system_information").xml.findtext("BackendActivated") == "false"
    assert desk.wire.start_put(bucket, {"a": 1}).status == 503
    assert desk.status("PUT", "data_path_backend", activated="true") == 200
    assert desk.wire.start_put(bucket, {"a": 1}).status == 200


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"iom_cache_limitation_percent": "1.1"}, 400),
        ({"partially_verify_last_percent_of_tapes": "101"}, 400),
        ({"max_number_of_concurrent_jobs": "0"}, 400),
        ({"auto_inspect": "sometimes"}, 400),
        ({"auto_inspect": ""}, 400),
        ({"default_verify_data_after_import": ""}, 200),
        ({"auto_activate_timeout_in_mins": ""}, 200),
    ],
)
def test_settings_of_the_data_path_are_checked(desk: Desk, parameters: dict[str, str], status: int) -> None:
    """Shares of at most all, limits of at least one, words there are; empty only where there may be none."""
    before = desk.ask("GET", "data_path_backend").xml
    assert desk.status("PUT", "data_path_backend", **parameters) == status
    after = desk.ask("GET", "data_path_backend").xml
    changed = {each.tag for each in after if each.text != before.findtext(each.tag) and each.text is not None}
    assert changed <= {"LastHeartbeat"}


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"auto_eject_upon_cron": "0 0 2 * * ?"}, 201),
        ({"auto_eject_upon_cron": "at night"}, 400),
        ({"max_tape_fragmentation_percent": "101"}, 400),
        ({"write_optimization": "speed"}, 400),
        ({"media_ejection_allowed": ""}, 400),
    ],
)
def test_a_storage_domain_has_times_and_shares_that_there_are(
    desk: Desk, parameters: dict[str, str], status: int
) -> None:
    """A cron expression, a percentage, a word of the enumeration, a truth."""
    assert desk.status("POST", "storage_domain", name=fresh_name(), **parameters) == status
