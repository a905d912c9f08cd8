"""Configured records: what may be created, filtered, sorted, changed and deleted, and what is refused."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import pytest

from ds3tool.simulator import Appliance, ApplianceSettings
from tests.simulator.wire import Answer, Wire


@dataclass
class Desk:
    """An appliance and a short way to ask it about records."""

    appliance: Appliance
    wire: Wire

    def ask(self, verb: str, resource: str, one: object = "", **parameters: object) -> Answer:
        path = f"/_rest_/{resource}" + (f"/{quote(str(one))}" if one else "")
        return self.wire.ask(verb, f"{path}?{urlencode(parameters)}" if parameters else path)

    def create(self, resource: str, **parameters: object) -> str:
        answer = self.ask("POST", resource, "", **parameters)
        assert answer.status == 201, answer
        return answer.xml.findtext("Id") or ""

    def status(self, verb: str, resource: str, one: object = "", **parameters: object) -> int:
        return self.ask(verb, resource, one, **parameters).status

    def listed(self, resource: str, element: str, **parameters: object) -> list[str]:
        return [each.findtext(element) or "" for each in self.ask("GET", resource, "", **parameters).xml]


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    """One appliance; each test gives its records names of their own."""
    with Appliance(ApplianceSettings(persist_delay=0.0, hold=0.0, retry_after=0, seed=7)) as appliance:
        wire = Wire(appliance.endpoint, appliance.access_key, appliance.secret_key)
        yield Desk(appliance, wire)
        wire.close()


def _name() -> str:
    return f"n-{uuid.uuid4().hex[:8]}"


def _s3(desk: Desk, name: str, **parameters: object) -> str:
    return desk.create("s3_target", **{"name": name, "access_key": "k", "secret_key": "s", **parameters})


# Creating.


def test_what_is_not_given_has_the_contracts_default(desk: Desk) -> None:
    """A target of which only what is required is told has the model's region, window and preference, nulls empty."""
    shown = desk.ask("GET", "s3_target", _s3(desk, _name())).xml
    values = {each.tag: each.text for each in shown}
    assert (values["Region"], values["OfflineDataStagingWindowInTb"], values["Https"]) == ("US_WEST_2", "64", "true")
    assert (values["DefaultReadPreference"], values["ProxyHost"], values["LastFullyVerified"]) == (
        *("LAST_RESORT", None, None),
    )


def test_secrets_are_kept_to_the_appliance(desk: Desk) -> None:
    """A cloud's secret key is not told again, another appliance's is, as the contract has it."""
    cloud = desk.ask("GET", "s3_target", _s3(desk, _name()))
    assert cloud.xml.find("SecretKey") is None
    other = {"admin_auth_id": "a", "admin_secret_key": "hidden", "data_path_end_point": "far.example"}
    target = desk.create("ds3_target", name=_name(), **other)
    assert desk.ask("GET", "ds3_target", target).xml.findtext("AdminSecretKey") == "hidden"


@pytest.mark.parametrize(
    "parameters",
    [
        {"region": "the_moon"},
        {"https": "perhaps"},
        {"offline_data_staging_window_in_tb": "many"},
        {"proxy_port": "70000"},
        {"cloud_bucket_prefix": "-b"},
        {"cloud_bucket_prefix": "a..b"},
        {"cloud_bucket_suffix": "b-"},
        {"cloud_bucket_suffix": "UPPER"},
        {"name": ""},
        {"access_key": ""},
    ],
)
def test_what_a_property_cannot_hold_is_refused(desk: Desk, parameters: dict[str, str]) -> None:
    """Words, truths, numbers, ports, forms and texts that may not be empty: 400, and nothing is made."""
    before = desk.listed("s3_target", "Id")
    given = {"name": _name(), "access_key": "k", "secret_key": "s", **parameters}
    assert desk.status("POST", "s3_target", **given) == 400
    assert desk.listed("s3_target", "Id") == before


def test_words_are_taken_in_any_case_and_told_in_upper(desk: Desk) -> None:
    """An enumeration's word and a truth may be written as the client likes."""
    shown = desk.ask("GET", "s3_target", _s3(desk, _name(), region="eu_West_1", https="FALSE")).xml
    assert (shown.findtext("Region"), shown.findtext("Https")) == ("EU_WEST_1", "false")


def test_a_name_is_given_once(desk: Desk) -> None:
    """A second record of a type with a name is a 409, when made and when renamed; a name of another type is free."""
    first, second = _name(), _name()
    _s3(desk, first)
    desk.create("pool_partition", name=first, type="online")
    assert desk.status("POST", "pool_partition", name=first, type="ONLINE") == 409
    desk.create("pool_partition", name=second, type="ONLINE")
    assert desk.status("PUT", "pool_partition", second, name=first) == 409
    assert desk.status("PUT", "pool_partition", second, name=second) == 200


def test_references_are_names_or_ids(desk: Desk) -> None:
    """What names nothing is a 404; both ways of naming end in the id."""
    policy, bucket = _name(), _name()
    policy_id = desk.create("data_policy", name=policy)
    for named in (policy, policy_id.upper()):
        answer = desk.ask("POST", "bucket", name=bucket + named[:4], data_policy_id=named)
        assert answer.xml.findtext("DataPolicyId") == policy_id
    target = _s3(desk, _name())
    rule = {"target_id": target, "type": "PERMANENT"}
    assert desk.status("POST", "s3_data_replication_rule", data_policy_id="none", **rule) == 404
    made = desk.create("s3_data_replication_rule", data_policy_id=policy, **rule)
    shown = desk.ask("GET", "s3_data_replication_rule", made).xml
    assert (shown.findtext("DataPolicyId"), shown.findtext("State")) == (policy_id, "NORMAL")
    assert desk.status("POST", "s3_data_replication_rule", data_policy_id=policy_id, **rule) == 409


# Lists.


def test_lists_are_filtered_by_every_property(desk: Desk) -> None:
    """Texts with wild cards, words in any case, truths, references by name; an empty filter asks for null."""
    stem, bucket = _name(), _name()
    near, far = _s3(desk, stem + "-a", region="US_EAST_1"), _s3(desk, stem + "-b", data_path_end_point="x", https=False)
    names = {"name": f"{stem}*"}
    assert desk.listed("s3_target", "Id", **names) == [near, far]
    assert desk.listed("s3_target", "Id", name=f"%{stem[2:]}-b") == [far]
    assert desk.listed("s3_target", "Id", **names, region="us_east_1") == [near]
    assert desk.listed("s3_target", "Id", **names, https="False") == [far]
    assert desk.listed("s3_target", "Id", **names, data_path_end_point="") == [near]
    desk.create("bucket", name=bucket)
    preference = {"read_preference": "NEVER", "bucket_id": bucket}
    made = desk.create("s3_target_read_preference", target_id=near, **preference)
    assert desk.listed("s3_target_read_preference", "Id", target_id=stem + "-a") == [made]
    assert desk.listed("s3_target_read_preference", "Id", bucket_id=bucket, target_id=far) == []
    assert desk.status("GET", "s3_target_read_preference", bucket_id="none") == 404


def test_lists_have_the_types_order(desk: Desk) -> None:
    """By name where there is one; failures with the latest first; members by the words' own order."""
    stem = _name()
    for letter in "cab":
        _s3(desk, f"{stem}-{letter}")
    names = desk.listed("s3_target", "Name", name=f"{stem}%")
    assert names == [f"{stem}-{letter}" for letter in "abc"]
    for name in names:
        desk.ask("PUT", "s3_target", name, operation="import", cloud_bucket_name=name)
    told = desk.listed("s3_target_failure", "ErrorMessage", error_message=f"*{stem}*")
    assert [text for text in told if stem in text] == told
    assert len(told) == 3
    dates = desk.listed("s3_target_failure", "Date")
    assert dates == sorted(dates, reverse=True)
    domain = desk.create("storage_domain", name=_name())
    for level in ("LOW", "HIGH", "NEVER_SELECT"):
        partition = desk.create("pool_partition", name=_name(), type="ONLINE")
        member = {"storage_domain_id": domain, "pool_partition_id": partition, "write_preference": level}
        desk.create("storage_domain_member", **member)
    listed = desk.listed("storage_domain_member", "WritePreference", storage_domain_id=domain)
    assert listed == ["HIGH", "LOW", "NEVER_SELECT"]


def test_a_page_counts_what_the_filter_left(desk: Desk) -> None:
    """The headers are of the filtered list, and a marker leads to what follows it."""
    stem = _name()
    made = [_s3(desk, f"{stem}-{number}") for number in range(3)]
    page = desk.ask("GET", "s3_target", name=f"{stem}*", page_length=1, page_start_marker=made[0])
    assert [each.findtext("Id") for each in page.xml] == [made[1]]
    assert (page.headers["total-result-count"], page.headers["page-truncated"]) == ("3", "1")


# Changes.


def test_only_what_is_given_is_changed(desk: Desk) -> None:
    """The rest stays; empty is null where there may be none, and a 400 where not."""
    target = _s3(desk, _name(), proxy_host="p", staged_data_expiration_in_days=3)
    changed = desk.ask("PUT", "s3_target", target, proxy_host="", region="").xml
    assert (changed.findtext("ProxyHost"), changed.findtext("Region")) == ("", "")
    assert changed.findtext("StagedDataExpirationInDays") == "3"
    assert desk.status("PUT", "s3_target", target, staged_data_expiration_in_days="") == 400
    assert desk.status("PUT", "s3_target", target, access_key="") == 400
    assert desk.status("PUT", "s3_target", "none", region="EU_WEST_1") == 404


def test_all_targets_are_quiesced_or_none(desk: Desk) -> None:
    """PENDING comes to YES by itself; YES cannot be asked for, and then no target is changed."""
    target = desk.create("azure_target", name=_name(), account_name="a", account_key="k")
    assert desk.status("PUT", "azure_target", quiesced="YES") == 409
    assert desk.ask("GET", "azure_target", target).xml.findtext("Quiesced") == "NO"
    assert desk.status("PUT", "azure_target", quiesced="pending") == 204
    assert desk.ask("GET", "azure_target", target).xml.findtext("Quiesced") == "YES"
    assert desk.ask("PUT", "azure_target", target, quiesced="NO").xml.findtext("Quiesced") == "NO"


def test_records_outlive_the_process(tmp_path: object) -> None:
    """What was made, and a capacity of the cache that was set, are there after a restart."""
    settings = ApplianceSettings(directory=str(tmp_path), secret_key="s", access_key="a", cache_size=1 << 20)
    with Appliance(settings) as appliance:
        wire = Wire(appliance.endpoint, "a", "s")
        first = Desk(appliance, wire)
        target = _s3(first, "kept")
        cache = first.listed("cache_filesystem", "Id")[0]
        assert first.status("PUT", "cache_filesystem", cache, max_capacity_in_bytes=4096) == 200
        wire.close()
    with Appliance(settings) as appliance:
        wire = Wire(appliance.endpoint, "a", "s")
        again = Desk(appliance, wire)
        assert again.ask("GET", "s3_target", "kept").xml.findtext("Id") == target
        assert again.ask("GET", "cache_state").xml.findtext("Filesystems/TotalCapacityInBytes") == "4096"
        shown = again.ask("PUT", "cache_filesystem", cache, max_capacity_in_bytes="").xml
        assert shown.findtext("MaxCapacityInBytes") == str(1 << 20)
        wire.close()


# Deleting.


def test_what_is_needed_elsewhere_cannot_go(desk: Desk) -> None:
    """A target named by a rule stays (409), with the rule it goes; its failures and bucket names go with it."""
    policy, bucket, target = _name(), _name(), _name()
    desk.create("data_policy", name=policy)
    desk.create("bucket", name=bucket)
    _s3(desk, target)
    rule = desk.create("s3_data_replication_rule", data_policy_id=policy, target_id=target, type="PERMANENT")
    named = desk.create("s3_target_bucket_name", bucket_id=bucket, target_id=target, name="theirs")
    assert desk.status("PUT", "s3_target", target, operation="import", cloud_bucket_name="x") == 204
    assert desk.status("DELETE", "s3_target", target) == 409
    assert desk.status("DELETE", "s3_data_replication_rule", rule) == 204
    assert desk.status("DELETE", "s3_target", target) == 204
    assert named not in desk.listed("s3_target_bucket_name", "Id")
    assert target not in "".join(desk.listed("s3_target_failure", "ErrorMessage"))
    assert desk.status("DELETE", "s3_target", target) == 404


def test_what_the_sdks_suites_make_they_take_down_again(desk: Desk) -> None:
    """A storage domain on pools, member, policy, rule, ACL, and each of them deleted in turn: 201 and 204."""
    name = _name()
    partition = desk.create("pool_partition", name=name, type="ONLINE")
    domain = desk.create("storage_domain", name=name)
    member = desk.create("storage_domain_member", storage_domain_id=domain, pool_partition_id=partition)
    policy = desk.create("data_policy", name=name, checksum_type="MD5", end_to_end_crc_required=True)
    rule = {"data_policy_id": policy, "storage_domain_id": domain, "type": "PERMANENT", "isolation_level": "STANDARD"}
    rule_id = desk.create("data_persistence_rule", **rule)
    entry = desk.create("data_policy_acl", data_policy_id=policy, user_id="Administrator")
    assert desk.status("DELETE", "storage_domain", domain) == 409
    turn = {"data_policy_acl": entry, "data_persistence_rule": rule_id, "data_policy": policy}
    turn |= {"storage_domain_member": member, "storage_domain": domain, "pool_partition": partition}
    assert [desk.status("DELETE", resource, identifier) for resource, identifier in turn.items()] == [204] * 6


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
    domain = desk.create("storage_domain", name=_name())
    assert desk.status("POST", resource, storage_domain_id=domain, **parameters) == status


def test_files_named_after_objects_have_no_versions(desk: Desk) -> None:
    """A domain with LTFS names of objects and a policy with versions exclude each other, whichever comes first."""
    domain = desk.create("storage_domain", name=_name(), ltfs_file_naming="OBJECT_NAME")
    policy = desk.create("data_policy", name=_name(), versioning="KEEP_LATEST")
    rule = {"storage_domain_id": domain, "type": "PERMANENT", "isolation_level": "STANDARD"}
    assert desk.status("POST", "data_persistence_rule", data_policy_id=policy, **rule) == 400
    assert desk.status("PUT", "data_policy", policy, versioning="NONE") == 200
    desk.create("data_persistence_rule", data_policy_id=policy, **rule)
    assert desk.status("PUT", "data_policy", policy, versioning="KEEP_LATEST") == 400
    assert desk.status("PUT", "storage_domain", domain, ltfs_file_naming="OBJECT_ID") == 200
    assert desk.status("PUT", "data_policy", policy, versioning="KEEP_LATEST") == 200
    assert desk.status("PUT", "storage_domain", domain, ltfs_file_naming="OBJECT_NAME") == 400


def _stored(desk: Desk) -> tuple[str, str, str]:
    """Put an object on tape under a policy of its own; return policy, rule and bucket."""
    domain = desk.listed("storage_domain", "Id", name="Tape first copy")[0]
    policy, bucket = desk.create("data_policy", name=_name()), _name()
    rule = {"storage_domain_id": domain, "type": "PERMANENT", "isolation_level": "STANDARD"}
    rule_id = desk.create("data_persistence_rule", data_policy_id=policy, **rule)
    desk.create("bucket", name=bucket, data_policy_id=policy)
    desk.wire.put_all(bucket, {"a": b"x"})
    machine = desk.appliance.machine
    number = machine.buckets.named(bucket).n
    with machine.jobs.changed:
        done = lambda: not any(job.bucket == number for job in machine.jobs.active.values())  # noqa: E731 - read below
        assert machine.jobs.changed.wait_for(done, 60)
    return policy, rule_id, bucket


def test_what_holds_data_cannot_go(desk: Desk) -> None:
    """Policy, rule, member and storage domain of an object on tape stay: 409 each."""
    policy, rule, bucket = _stored(desk)
    domain = desk.ask("GET", "data_persistence_rule", rule).xml.findtext("StorageDomainId") or ""
    tape = next(each for each in desk.ask("GET", "tape").xml if each.findtext("StorageDomainMemberId"))
    assert desk.status("DELETE", "data_policy", policy) == 409
    assert desk.status("DELETE", "data_persistence_rule", rule) == 409
    assert desk.status("PUT", "data_persistence_rule", rule, type="RETIRED") == 409
    assert desk.status("DELETE", "storage_domain", domain) == 409
    assert desk.status("DELETE", "storage_domain_member", tape.findtext("StorageDomainMemberId") or "") == 409
    assert desk.status("DELETE", "bucket", bucket, force="") == 204
    assert desk.status("DELETE", "data_policy", policy) == 204


def test_a_rule_for_objects_that_are_there_has_to_include_them(desk: Desk) -> None:
    """A second rule is INCLUSION_IN_PROGRESS while an object lacks its copy, and NORMAL when none does."""
    policy, first, bucket = _stored(desk)
    second = desk.create("storage_domain", name=_name())
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
    policy, domain = desk.create("data_policy", name=_name()), desk.create("storage_domain", name=_name())
    rule = {"data_policy_id": policy, "storage_domain_id": domain, "isolation_level": "STANDARD"}
    assert desk.status("POST", "data_persistence_rule", type="PERMANENT", minimum_days_to_retain=1, **rule) == 400
    made = desk.create("data_persistence_rule", type="PERMANENT", **rule)
    assert desk.status("PUT", "data_persistence_rule", made, minimum_days_to_retain=1) == 400
    assert desk.status("PUT", "data_persistence_rule", made, minimum_days_to_retain=1, type="TEMPORARY") == 200


def test_a_storage_domain_becomes_another_appliance(desk: Desk) -> None:
    """Its rules replicate to the target then, and it is gone."""
    other = {"admin_auth_id": "a", "admin_secret_key": "s", "data_path_end_point": "far.example"}
    target = desk.create("ds3_target", name=_name(), **other)
    policy, domain = desk.create("data_policy", name=_name()), desk.create("storage_domain", name=_name())
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


def test_another_capacity_of_the_cache_counts_at_once(tmp_path: object) -> None:
    """What is on tape leaves a cache that was made smaller, and the smaller one admits no more than it holds."""
    with Appliance(ApplianceSettings(persist_delay=0.0, hold=0.0, retry_after=0)) as appliance:
        desk = Desk(appliance, Wire(appliance.endpoint, appliance.access_key, appliance.secret_key))
        assert desk.wire.ask("PUT", "/b").status == 200
        desk.wire.put_all("b", {"a": b"x" * 3000})
        machine = appliance.machine
        with machine.jobs.changed:
            assert machine.jobs.changed.wait_for(lambda: not machine.jobs.active, 60)
        cache = desk.listed("cache_filesystem", "Id")[0]
        assert desk.status("PUT", "cache_filesystem", cache, max_capacity_in_bytes=2000) == 200
        state = desk.ask("GET", "cache_state").xml
        assert state.findtext("Filesystems/UsedCapacityInBytes") == "0"
        assert state.findtext("Filesystems/AvailableCapacityInBytes") == "2000"
        desk.wire.close()


def test_an_appliance_takes_another_identity(desk: Desk) -> None:
    """The instance's id is another one from then on, wherever it is told; nothing else is."""
    before = desk.ask("GET", "system_information").xml.findtext("InstanceId")
    bucket = desk.create("bucket", name=_name())
    after = desk.ask("PUT", "instance_identifier").xml.findtext("InstanceId")
    assert after != before
    assert desk.ask("GET", "system_information").xml.findtext("InstanceId") == after
    assert desk.ask("GET", "data_path_backend").xml.findtext("InstanceId") == after
    assert desk.status("GET", "bucket", bucket) == 200


def test_capacity_is_told_of_the_system_a_domain_and_a_bucket(desk: Desk) -> None:
    """Filters of type and state leave tapes out; a bucket's share is its bytes in the domain."""
    _, _, bucket = _stored(desk)
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
    target = desk.create("azure_target", name=_name(), account_name="a", account_key="k")
    assert desk.status("PUT", "azure_target", target, operation="import", cloud_bucket_name="far") == 204
    verified = desk.ask("PUT", "azure_target", target, operation="verify", full_details="")
    assert verified.xml.findtext("LastFullyVerified")
    assert set(desk.listed("azure_target_failure", "Type", target_id=target)) == {"IMPORT_FAILED", "VERIFY_COMPLETE"}
    failure = desk.listed("azure_target_failure", "Id", target_id=target)[0]
    assert desk.status("DELETE", "azure_target_failure", failure) == 204


def test_a_bucket_under_way_keeps_its_kind_of_checksum(desk: Desk) -> None:
    """A policy with another checksum cannot be given to a bucket that is receiving blobs, one with the same can."""
    same, other, bucket = _name(), _name(), _name()
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
    bucket = _name()
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
    assert desk.status("POST", "storage_domain", name=_name(), **parameters) == status
