"""Configured records: what may be created, filtered, sorted, changed and deleted, and what is refused."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.simulator import ApplianceSettings
from tests.simulator.desk import Desk, desk_of, fresh_name


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    """One appliance; each test gives its records names of their own."""
    with desk_of(ApplianceSettings(persist_delay=0.0, hold=0.0, retry_after=0, seed=7)) as desk:
        yield desk


def _s3(desk: Desk, name: str, **parameters: object) -> str:
    return desk.create("s3_target", **{"name": name, "access_key": "k", "secret_key": "s", **parameters})


# Creating.


def test_what_is_not_given_has_the_contracts_default(desk: Desk) -> None:
    """A target of which only what is required is told has the model's region, window and preference, nulls empty."""
    shown = desk.ask("GET", "s3_target", _s3(desk, fresh_name())).xml
    values = {each.tag: each.text for each in shown}
    assert (values["Region"], values["OfflineDataStagingWindowInTb"], values["Https"]) == ("US_WEST_2", "64", "true")
    assert (values["DefaultReadPreference"], values["ProxyHost"], values["LastFullyVerified"]) == (
        *("LAST_RESORT", None, None),
    )


def test_secrets_are_kept_to_the_appliance(desk: Desk) -> None:
    """A cloud's secret key is not told again, another appliance's is, as the contract has it."""
    cloud = desk.ask("GET", "s3_target", _s3(desk, fresh_name()))
    assert cloud.xml.find("SecretKey") is None
    other = {"admin_auth_id": "a", "admin_secret_key": "hidden", "data_path_end_point": "far.example"}
    target = desk.create("ds3_target", name=fresh_name(), **other)
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
    given = {"name": fresh_name(), "access_key": "k", "secret_key": "s", **parameters}
    assert desk.status("POST", "s3_target", **given) == 400
    assert desk.listed("s3_target", "Id") == before


def test_words_are_taken_in_any_case_and_told_in_upper(desk: Desk) -> None:
    """An enumeration's word and a truth may be written as the client likes."""
    shown = desk.ask("GET", "s3_target", _s3(desk, fresh_name(), region="eu_West_1", https="FALSE")).xml
    assert (shown.findtext("Region"), shown.findtext("Https")) == ("EU_WEST_1", "false")


def test_a_name_is_given_once(desk: Desk) -> None:
    """A second record of a type with a name is a 409, when made and when renamed; a name of another type is free."""
    first, second = fresh_name(), fresh_name()
    _s3(desk, first)
    desk.create("pool_partition", name=first, type="online")
    assert desk.status("POST", "pool_partition", name=first, type="ONLINE") == 409
    desk.create("pool_partition", name=second, type="ONLINE")
    assert desk.status("PUT", "pool_partition", second, name=first) == 409
    assert desk.status("PUT", "pool_partition", second, name=second) == 200


def test_references_are_names_or_ids(desk: Desk) -> None:
    """What names nothing is a 404; both ways of naming end in the id."""
    policy, bucket = fresh_name(), fresh_name()
    policy_id = desk.create("data_policy", name=policy)
    for named in (policy, policy_id.upper()):
        answer = desk.ask("POST", "bucket", name=bucket + named[:4], data_policy_id=named)
        assert answer.xml.findtext("DataPolicyId") == policy_id
    target = _s3(desk, fresh_name())
    rule = {"target_id": target, "type": "PERMANENT"}
    assert desk.status("POST", "s3_data_replication_rule", data_policy_id="none", **rule) == 404
    made = desk.create("s3_data_replication_rule", data_policy_id=policy, **rule)
    shown = desk.ask("GET", "s3_data_replication_rule", made).xml
    assert (shown.findtext("DataPolicyId"), shown.findtext("State")) == (policy_id, "NORMAL")
    assert desk.status("POST", "s3_data_replication_rule", data_policy_id=policy_id, **rule) == 409


# Lists.


def test_lists_are_filtered_by_every_property(desk: Desk) -> None:
    """Texts with wild cards, words in any case, truths, references by name; an empty filter asks for null."""
    stem, bucket = fresh_name(), fresh_name()
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
    stem = fresh_name()
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
    domain = desk.create("storage_domain", name=fresh_name())
    for level in ("LOW", "HIGH", "NEVER_SELECT"):
        partition = desk.create("pool_partition", name=fresh_name(), type="ONLINE")
        member = {"storage_domain_id": domain, "pool_partition_id": partition, "write_preference": level}
        desk.create("storage_domain_member", **member)
    listed = desk.listed("storage_domain_member", "WritePreference", storage_domain_id=domain)
    assert listed == ["HIGH", "LOW", "NEVER_SELECT"]


def test_a_page_counts_what_the_filter_left(desk: Desk) -> None:
    """The headers are of the filtered list, and a marker leads to what follows it."""
    stem = fresh_name()
    made = [_s3(desk, f"{stem}-{number}") for number in range(3)]
    page = desk.ask("GET", "s3_target", name=f"{stem}*", page_length=1, page_start_marker=made[0])
    assert [each.findtext("Id") for each in page.xml] == [made[1]]
    assert (page.headers["total-result-count"], page.headers["page-truncated"]) == ("3", "1")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("2026-11-22T12:00:00.500Z", 200),
        ("2026-11-22 12:00:00.500", 200),
        ("1763812800", 200),
        ("1763812800500", 200),
        ("yesterday", 400),
        ("0001-01-01T00:00:00+14:00", 400),
        ("999999999999999", 400),
    ],
)
def test_dates_are_numbers_or_iso(desk: Desk, text: str, status: int) -> None:
    """Seconds, milliseconds or a date with or without its zone; no date that has no four digits for its year."""
    assert desk.status("GET", "tape", last_verified=text) == status


# Changes.


def test_only_what_is_given_is_changed(desk: Desk) -> None:
    """The rest stays; empty is null where there may be none, and a 400 where not."""
    target = _s3(desk, fresh_name(), proxy_host="p", staged_data_expiration_in_days=3)
    changed = desk.ask("PUT", "s3_target", target, proxy_host="", region="").xml
    assert (changed.findtext("ProxyHost"), changed.findtext("Region")) == ("", "")
    assert changed.findtext("StagedDataExpirationInDays") == "3"
    assert desk.status("PUT", "s3_target", target, staged_data_expiration_in_days="") == 400
    assert desk.status("PUT", "s3_target", target, access_key="") == 400
    assert desk.status("PUT", "s3_target", "none", region="EU_WEST_1") == 404


def test_all_targets_are_quiesced_or_none(desk: Desk) -> None:
    """PENDING comes to YES by itself; YES cannot be asked for, and then no target is changed."""
    target = desk.create("azure_target", name=fresh_name(), account_name="a", account_key="k")
    assert desk.status("PUT", "azure_target", quiesced="YES") == 409
    assert desk.ask("GET", "azure_target", target).xml.findtext("Quiesced") == "NO"
    assert desk.status("PUT", "azure_target", quiesced="pending") == 204
    assert desk.ask("GET", "azure_target", target).xml.findtext("Quiesced") == "YES"
    assert desk.ask("PUT", "azure_target", target, quiesced="NO").xml.findtext("Quiesced") == "NO"


def test_records_outlive_the_process(tmp_path: Path) -> None:
    """What was made, and a capacity of the cache that was set, are there after a restart."""
    settings = ApplianceSettings(directory=str(tmp_path), secret_key="s", access_key="a", cache_size=1 << 20)
    with desk_of(settings) as first:
        target = _s3(first, "kept")
        cache = first.listed("cache_filesystem", "Id")[0]
        assert first.status("PUT", "cache_filesystem", cache, max_capacity_in_bytes=4096) == 200
    with desk_of(settings) as again:
        assert again.ask("GET", "s3_target", "kept").xml.findtext("Id") == target
        assert again.ask("GET", "cache_state").xml.findtext("Filesystems/TotalCapacityInBytes") == "4096"
        shown = again.ask("PUT", "cache_filesystem", cache, max_capacity_in_bytes="").xml
        assert shown.findtext("MaxCapacityInBytes") == str(1 << 20)


# Deleting.


def test_what_is_needed_elsewhere_cannot_go(desk: Desk) -> None:
    """A target named by a rule stays (409), with the rule it goes; its failures and bucket names go with it."""
    policy, bucket, target = fresh_name(), fresh_name(), fresh_name()
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


def test_what_is_about_a_bucket_goes_with_it(desk: Desk) -> None:
    """Permissions on a bucket, its names in clouds and where it is read from; a user's default policy becomes none."""
    bucket, target, policy, user = fresh_name(), fresh_name(), fresh_name(), fresh_name()
    desk.create("bucket", name=bucket)
    _s3(desk, target)
    records = {
        "bucket_acl": desk.create("bucket_acl", bucket_id=bucket, user_id="Administrator", permission="READ"),
        "s3_target_bucket_name": desk.create("s3_target_bucket_name", bucket_id=bucket, target_id=target, name="far"),
        "s3_target_read_preference": desk.create(
            "s3_target_read_preference", bucket_id=bucket, target_id=target, read_preference="NEVER"
        ),
    }
    assert desk.status("DELETE", "bucket", bucket) == 204
    assert [each for each, made in records.items() if made in desk.listed(each, "Id")] == []
    desk.create("data_policy", name=policy)
    desk.create("user", name=user, default_data_policy_id=policy)
    assert desk.status("DELETE", "data_policy", policy) == 204
    assert desk.ask("GET", "user", user).xml.findtext("DefaultDataPolicyId") == ""


def test_the_failures_of_a_tape_go_with_it(desk: Desk) -> None:
    """A tape that is struck from the inventory leaves no failure that speaks of it, and others' stay."""
    lost, kept = desk.listed("tape", "Id")[-2:]
    for tape in (lost, kept):
        facts = {"Date": 1.5, "ErrorMessage": "worn", "TapeDriveId": str(uuid.uuid4()), "TapeId": tape}
        desk.appliance.machine.beans.add("TapeFailure", str(uuid.uuid4()), {**facts, "Type": "READ_FAILED"})
    assert desk.status("PUT", "tape", lost, state="LOST") == 200
    assert desk.status("DELETE", "tape", lost) == 204
    assert desk.listed("tape_failure", "TapeId") == [kept]


def test_what_the_sdks_suites_make_they_take_down_again(desk: Desk) -> None:
    """A storage domain on pools, member, policy, rule, ACL, and each of them deleted in turn: 201 and 204."""
    name = fresh_name()
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
