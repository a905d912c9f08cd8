"""Who may do what: owners, permissions given directly, through groups and on all buckets, strangers, administrators."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.simulator.contract import Operation, operations
from ds3tool.simulator.dispatch import served
from ds3tool.simulator.permissions import REST_RULES, S3_RULES, administrators, rule_of
from tests.simulator.wire import Answer, Wire

PERMISSIONS = ("LIST", "READ", "WRITE", "DELETE", "JOB", "OWNER")
WANTED = b'<Objects><Object Name="nothing"/></Objects>'
NEW = b'<Objects><Object Name="new/%s" Size="0"/></Objects>'
# What needs which permission on the bucket `b`; nothing here leaves anything behind but objects below `new/`.
CALLS: dict[str, tuple[tuple[str, str, bytes], ...]] = {
    "LIST": (
        ("HEAD", "/b", b""),
        ("GET", "/b", b""),
        ("GET", "/b?location", b""),
        ("GET", "/_rest_/bucket/b", b""),
        ("GET", "/_rest_/object?bucket_id=b", b""),
        ("GET", "/_rest_/object?bucket_id=b&full_details", b""),
        ("GET", "/_rest_/object/kept?bucket_id=b", b""),
        ("GET", "/_rest_/suspect_object?bucket_id=b", b""),
        ("GET", "/_rest_/degraded_blob?bucket_id=b", b""),
    ),
    "READ": (
        ("GET", "/b/kept", b""),
        ("HEAD", "/b/kept", b""),
        ("PUT", "/_rest_/bucket/b?operation=start_bulk_get", WANTED),
        ("PUT", "/_rest_/bucket/b?operation=start_bulk_verify", WANTED),
        ("PUT", "/_rest_/bucket/b?operation=get_physical_placement", WANTED),
        ("GET", "/_rest_/bucket/b?operation=verify_physical_placement&full_details", WANTED),
    ),
    "WRITE": (
        ("PUT", "/b/new/{n}", b"x"),
        ("PUT", "/_rest_/bucket/b?operation=start_bulk_put", b'<Objects><Object Name="" Size="1"/></Objects>'),
        ("PUT", "/_rest_/bucket/b?operation=verify_safe_to_start_bulk_put", b""),
        ("PUT", "/_rest_/object?bucket_id=b&name=nothing", b""),
    ),
    "DELETE": (
        ("DELETE", "/b/nothing", b""),
        ("POST", "/b?delete", b"<Delete><Object><Key>nothing</Key></Object></Delete>"),
        ("DELETE", "/_rest_/folder/nothing?bucket_id=b&recursive", b""),
    ),
    "JOB": (
        ("GET", "/_rest_/job/{job}", b""),
        ("PUT", "/_rest_/job/{job}?priority=LOW", b""),
        ("GET", "/_rest_/active_job/{job}", b""),
        ("GET", "/_rest_/job_chunk?job={job}", b""),
        ("GET", "/_rest_/job_chunk/{chunk}", b""),
        ("GET", "/_rest_/job_chunk/{job}", b""),
        ("PUT", "/_rest_/job_chunk/{chunk}?operation=allocate", b""),
    ),
    "OWNER": (
        ("PUT", "/_rest_/bucket/b?protected=false", b""),
        ("DELETE", "/b", b""),
        ("DELETE", "/_rest_/bucket/b", b""),
        ("GET", "/_rest_/bucket_acl?bucket_id=b", b""),
        ("POST", "/_rest_/bucket_acl?bucket_id=b&user_id=nobody&permission=LIST", b""),
        ("GET", "/_rest_/bucket_acl/{entry}", b""),
    ),
}


@dataclass
class House:
    """An appliance with a bucket `b` that `olga` owns, and in it an object and a job of the administrator."""

    appliance: Appliance
    wire: Wire
    job: str
    chunk: str
    entry: str
    closing: ExitStack
    count: int = 0

    def make(self, resource: str, **parameters: str) -> str:
        """Make a record; return its id."""
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        made = self.wire.ask("POST", f"/_rest_/{resource}?{query}")
        assert made.status == 201, made
        return made.xml.findtext("Id") or ""

    def drop(self, resource: str, identifier: str) -> None:
        """Delete a record."""
        assert self.wire.ask("DELETE", f"/_rest_/{resource}/{identifier}").status == 204

    def user(self, name: str = "", **parameters: str) -> Wire:
        """Return a client of a new user."""
        self.count += 1
        name = name or f"user{self.count}"
        query = "".join(f"&{key}={value}" for key, value in parameters.items())
        user = self.wire.ask("POST", f"/_rest_/user?name={name}{query}").xml
        return self.wire_of(user.findtext("AuthId") or "", user.findtext("SecretKey") or "")

    def wire_of(self, access_key: str, secret_key: str) -> Wire:
        """Return a client, closed with the house."""
        wire = Wire(self.appliance.endpoint, access_key, secret_key)
        self.closing.callback(wire.close)
        return wire

    def group(self, **parameters: str) -> str:
        """Return the name of a new group."""
        self.count += 1
        self.make("group", name=f"group{self.count}", **parameters)
        return f"group{self.count}"

    def allowed(self, wire: Wire) -> set[str]:
        """Return the permissions whose calls a client may all make; every call is made, and is refused or not."""
        found = set[str]()
        for permission, calls in CALLS.items():
            answers = [self.ask(wire, *call) for call in calls]
            refused = [answer.status == 403 for answer in answers]
            assert all(refused) or not any(refused), (permission, list(zip(calls, answers, strict=True)))
            assert all(answer.status < 500 for answer in answers), answers
            if not any(refused):
                found.add(permission)
        return found

    def ask(self, wire: Wire, verb: str, target: str, body: bytes) -> Answer:
        """Make one of the calls."""
        self.count += 1
        places = {"n": str(self.count), "job": self.job, "chunk": self.chunk, "entry": self.entry}
        return wire.ask(verb, target.format(**places), body)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """Return one appliance for all tests of the module."""
    settings = ApplianceSettings(blob_size=1000, persist_delay=0.0, hold=0.0, retry_after=0, seed=7)
    with ExitStack() as closing:
        appliance = closing.enter_context(Appliance(settings))
        wire = Wire(appliance.endpoint, appliance.access_key, appliance.secret_key)
        closing.callback(wire.close)
        house = House(appliance, wire, "", "", "", closing)
        house.user("olga", default_data_policy_id="Single%20copy%20on%20tape")
        house.make("bucket", name="b", user_id="olga")
        assert wire.ask("PUT", "/b/kept", b"kept").status == 200
        started = wire.start_put("b", {"coming": 10}).xml
        house.job = started.attrib["JobId"]
        house.chunk = started.find("Objects").attrib["ChunkId"]  # type: ignore[union-attr] # it has one
        house.user("somebody")
        house.entry = house.make("bucket_acl", bucket_id="b", user_id="somebody", permission="READ")
        yield house


@pytest.fixture
def grant(house: House, request: pytest.FixtureRequest) -> tuple[Wire, dict[str, str]]:
    """Return a new user, and what names who is given a permission, so that it comes to the user in one of the ways."""
    way = str(request.param)
    wire = house.user()
    name = f"user{house.count}"
    given = {} if way.startswith("everywhere") else {"bucket_id": "b"}
    if way.endswith("user"):
        return wire, {**given, "user_id": name}
    group = house.group()
    house.make("group_member", group_id=group, member_user_id=name)
    if way.endswith("nested"):
        inner, group = group, house.group()
        house.make("group_member", group_id=group, member_group_id=inner)
    return wire, {**given, "group_id": group}


@pytest.mark.parametrize(
    "grant", ["on b, user", "on b, group", "on b, nested", "everywhere, user", "everywhere, nested"], indirect=True
)
def test_a_permission_lets_do_what_it_says_and_nothing_else(house: House, grant: tuple[Wire, dict[str, str]]) -> None:
    """Each of them opens its own calls, OWNER all, from when it is given until it is taken away."""
    wire, given = grant
    assert house.allowed(wire) == set()
    for permission in PERMISSIONS:
        entry = house.make("bucket_acl", permission=permission, **given)
        assert house.allowed(wire) == ({permission} if permission != "OWNER" else set(PERMISSIONS))
        house.drop("bucket_acl", entry)
    assert house.allowed(wire) == set()


def test_an_owner_and_an_administrator_need_no_permission(house: House) -> None:
    """Both may do everything with a bucket; a member of a group of administrators is one."""
    olga = house.wire.ask("GET", "/_rest_/user/olga").xml
    owner = house.wire_of(olga.findtext("AuthId") or "", olga.findtext("SecretKey") or "")
    assert house.allowed(owner) == set(PERMISSIONS)
    assert owner.ask("POST", "/_rest_/group?name=hers").status == 403
    given = owner.ask("POST", "/_rest_/bucket_acl?bucket_id=b&user_id=somebody&permission=LIST").xml.findtext("Id")
    assert owner.ask("DELETE", f"/_rest_/bucket_acl/{given}").status == 204
    assert owner.ask("POST", "/_rest_/bucket_acl?user_id=somebody&permission=LIST").status == 403, "on all buckets"
    second = house.user("second")
    group = house.group()
    house.make("group_member", group_id=group, member_user_id="second")
    member = house.make("group_member", group_id="Administrators", member_group_id=group)
    assert house.allowed(second) == set(PERMISSIONS)
    assert second.ask("POST", "/_rest_/group?name=theirs").status == 201
    house.drop("group_member", member)
    assert second.ask("DELETE", "/_rest_/group/theirs").status == 403
    house.drop("group", "theirs")


def test_buckets_and_jobs_are_found_by_those_who_may(house: House) -> None:
    """GET service and the list of buckets show what the caller may list; an unknown bucket is a 404 to everybody."""
    wire = house.user("lister")

    def seen() -> tuple[list[str | None], list[str | None]]:
        service = [each.text for each in wire.ask("GET", "/").xml.iter("Name")]
        return service, [each.text for each in wire.ask("GET", "/_rest_/bucket").xml.iter("Name")]

    assert seen() == ([], [])
    entry = house.make("bucket_acl", bucket_id="b", user_id="lister", permission="LIST")
    assert seen() == (["b"], ["b"])
    house.drop("bucket_acl", entry)
    assert wire.ask("HEAD", "/b").status == 403
    assert wire.ask("HEAD", "/none").status == 404
    assert wire.ask("GET", "/none/x").status == 404
    assert wire.bulk("start_bulk_get", "none", '<Object Name="x"/>').status == 404
    refused = wire.ask("GET", "/b/kept")
    assert (refused.status, refused.code) == (403, "AccessDenied")
    assert "'lister' needs the permission READ on the bucket 'b'" in refused.message
    assert wire.ask("GET", "/_rest_/object").status == 403, "objects of all buckets"
    assert house.job in {job.get("JobId") for job in wire.ask("GET", "/_rest_/job").xml}, "all see all jobs"


def test_a_job_is_its_initiators(house: House) -> None:
    """Who began a job may follow, change and cancel it without JOB, and nobody else without it."""
    wire, other = house.user("writer"), house.user("other")
    given = {"bucket_id": "b", "permission": "WRITE"}
    entries = [house.make("bucket_acl", user_id=name, **given) for name in ("writer", "other")]
    job = wire.start_put("b", {"of writer": 3}).xml.attrib["JobId"]
    assert other.ask("GET", f"/_rest_/job/{job}").status == 403
    assert other.ready(job).status == 403
    assert other.ask("DELETE", f"/_rest_/job/{job}?force").status == 403
    assert wire.ready(job).status == 200
    assert wire.put_blob("b", "of writer", job, 0, b"abc").status == 200
    second = wire.start_put("b", {"given up": 3}).xml.attrib["JobId"]
    assert wire.ask("PUT", f"/_rest_/job/{second}?priority=HIGH").status == 200
    assert wire.ask("DELETE", f"/_rest_/job/{second}?force").status == 204
    assert wire.ask("DELETE", "/_rest_/job?force").status == 403, "all jobs of everybody"
    assert other.ask("GET", f"/_rest_/canceled_job/{second}").status == 403
    assert wire.ask("GET", f"/_rest_/canceled_job/{second}").status == 200
    for entry in entries:
        house.drop("bucket_acl", entry)


def test_accounts_of_others_are_hidden(house: House) -> None:
    """A user sees and renews the own account only, an administrator all; a renewed secret replaces the one before."""
    wire = house.user("modest")
    listed = wire.ask("GET", "/_rest_/user").xml
    assert [each.findtext("Name") for each in listed] == ["modest"]
    assert wire.ask("GET", "/_rest_/user/modest").xml.findtext("SecretKey") == wire.secret_key
    assert wire.ask("GET", "/_rest_/user/olga").status == 403
    assert wire.ask("GET", "/_rest_/user?auth_id=b2xnYQ==").status == 403
    assert wire.ask("PUT", "/_rest_/user/modest?max_buckets=5").status == 403
    assert len(house.wire.ask("GET", "/_rest_/user").xml) > 2
    renewed = wire.ask("PUT", "/_rest_/user/modest?operation=regenerate_secret_key").xml
    assert wire.ask("GET", "/").status == 403
    assert house.wire_of(wire.access_key, renewed.findtext("SecretKey") or "").ask("GET", "/").status == 200


def test_a_registration_is_seen_by_who_made_it(house: House) -> None:
    """Others do not find it in their lists, and may neither show nor delete it."""
    first, second = house.user("first"), house.user("second_one")
    resource = "job_completed_notification_registration"
    assert first.ask("POST", f"/_rest_/{resource}?notification_end_point=http://e").status == 403, "of all jobs"
    house.make("bucket_acl", user_id="first", permission="JOB")
    made = first.ask("POST", f"/_rest_/{resource}?notification_end_point=http://e")
    assert made.status == 201
    identifier = made.xml.findtext("Id")
    assert [each.findtext("Id") for each in first.ask("GET", f"/_rest_/{resource}").xml] == [identifier]
    assert len(second.ask("GET", f"/_rest_/{resource}").xml) == 0
    assert second.ask("GET", f"/_rest_/{resource}?user_id=first").status == 403
    assert second.ask("DELETE", f"/_rest_/{resource}/{identifier}").status == 403
    assert len(house.wire.ask("GET", f"/_rest_/{resource}").xml) == 1
    assert first.ask("DELETE", f"/_rest_/{resource}/{identifier}").status == 204


def _filled(row: Operation) -> str:
    values = {"UUID": "00000000-0000-4000-8000-000000000000", "boolean": "true", "void": ""}
    numbers = ("int", "Integer", "long", "Long", "double", "Double")
    place = f"/_rest_/{row.resource}" + ("/x" if row.one else "")
    query = [f"operation={row.operation}"] if row.operation else []
    query += [
        f"{each.name}={values.get(each.type, '1' if each.type in numbers else 'NORMAL')}"
        for each in row.parameters
        if each.required
    ]
    return place + ("?" + "&".join(query) if query else "")


def test_what_is_not_given_to_others_is_for_administrators(house: House) -> None:
    """Every such operation that is served refuses a stranger, whatever it is asked; unknown words are a 400."""
    wire = house.user("stranger")
    rows = [each.operation for each in served() if rule_of(each.operation) is administrators]
    assert len(rows) > 100
    statuses = {row.name: wire.ask(row.verb, _filled(row)).status for row in rows}
    assert set(statuses.values()) <= {403, 400}, {name for name, status in statuses.items() if status not in (403, 400)}
    denied = {name for name, status in statuses.items() if status == 403}
    assert {"CreateGroup", "DelegateCreateUser", "EjectTape", "ModifyDataPolicy", "CancelAllJobs"} <= denied
    assert len(denied) > len(rows) * 0.8


def test_how_the_system_is_built_may_be_read_by_everybody(house: House) -> None:
    """Lists that show no secret and name no object answer a stranger."""
    wire = house.user("reader")
    for resource in ("data_policy", "tape", "node", "group", "system_information", "capacity_summary"):
        assert wire.ask("GET", f"/_rest_/{resource}").status == 200, resource
    assert wire.ask("GET", "/_rest_/tape/SIM001L8").status == 200
    for resource in ("ds3_target", "feature_key"):
        assert wire.ask("GET", f"/_rest_/{resource}").status == 403, resource
    assert wire.ask("GET", "/_rest_/tape/SIM001L8?operation=get_physical_placement").status == 403, "names objects"
    assert wire.ask("GET", "/_rest_/tape/SIM001L8?operation=get_physical_placement&bucket_id=x").status == 403


def test_a_bucket_or_user_called_like_the_id_of_another_opens_nothing_of_that_one(house: House) -> None:
    """An id comes before a name: whoever took it as a name neither sees nor changes what is the other's."""
    taken = house.wire.ask("GET", "/_rest_/bucket/b").xml.findtext("Id") or ""
    wire = house.user("mimic", default_data_policy_id="Single%20copy%20on%20tape")
    assert wire.ask("PUT", f"/{taken}").status == 200
    assert house.wire.ask("GET", f"/_rest_/bucket/{taken}").xml.findtext("Name") == "b"
    assert wire.ask("GET", f"/_rest_/bucket_acl?bucket_id={taken}").status == 403
    assert wire.ask("GET", f"/_rest_/bucket/{taken}").status == 403
    administrator = str(house.appliance.machine.administrator["Id"])
    other = house.user(administrator)
    assert other.ask("GET", f"/_rest_/user/{administrator}").status == 403
    assert other.ask("PUT", f"/_rest_/user/{administrator}?operation=regenerate_secret_key").status == 403
    assert house.wire.ask("GET", "/_rest_/system_information").status == 200, "the key is the one before"


def test_the_table_names_operations_of_the_contract() -> None:
    """A permission that is asked for under a name that nothing has would never be asked for."""
    assert {name for style, name in operations() if style == "s3"} == set(S3_RULES)
    assert {name for style, name in operations() if style == "rest"} >= set(REST_RULES)


# Records.


def test_built_in_groups_stay(house: House) -> None:
    """They cannot be deleted or renamed, and the appliance's administrator stays where it is."""
    built_in = house.wire.ask("GET", "/_rest_/group?built_in=true").xml
    assert [each.findtext("Name") for each in built_in] == ["Administrators", "Everyone"]
    assert house.wire.ask("DELETE", "/_rest_/group/Everyone").status == 403
    assert house.wire.ask("PUT", "/_rest_/group/Administrators?name=Others").status == 403
    assert house.wire.ask("POST", "/_rest_/group?name=Everyone").status == 409
    members = house.wire.ask("GET", "/_rest_/group_member?group_id=Administrators").xml
    assert len(members) == 1
    assert house.wire.ask("DELETE", f"/_rest_/group_member/{members[0].findtext('Id')}").status == 403
    assert house.wire.ask("POST", "/_rest_/group_member?group_id=Everyone&member_user_id=olga").status == 403


def test_membership_goes_through_groups_and_not_in_circles(house: House) -> None:
    """Verify answers 200 with the group, 204 for who is not in it; a group cannot come to be in itself."""
    house.user("deep")
    inner, middle, outer = house.group(), house.group(), house.group()
    house.make("group_member", group_id=inner, member_user_id="deep")
    house.make("group_member", group_id=middle, member_group_id=inner)
    house.make("group_member", group_id=outer, member_group_id=middle)
    verify = f"/_rest_/group/{outer}?operation=verify"
    shown = house.wire.ask("PUT", f"{verify}&user_id=deep")
    assert (shown.status, shown.xml.findtext("Name")) == (200, outer)
    assert house.wire.ask("PUT", verify).status == 204, "the caller"
    assert house.wire.ask("PUT", "/_rest_/group/Everyone?operation=verify").status == 200
    assert house.wire.ask("PUT", f"{verify}&user_id=nobody").status == 404
    for group in (inner, middle, outer):
        circle = f"/_rest_/group_member?group_id={inner}&member_group_id={group}"
        assert house.wire.ask("POST", circle).status == 409, group
    assert house.wire.ask("POST", f"/_rest_/group_member?group_id={inner}&member_user_id=deep").status == 409


def test_entries_are_one_of_a_kind_and_for_one(house: House) -> None:
    """The same permission twice is a 409, for a user and a group at once a 400, for nobody known a 404."""
    house.user("twice")
    group = house.group()
    house.make("bucket_acl", bucket_id="b", user_id="twice", permission="READ")
    again = "/_rest_/bucket_acl?bucket_id=b&user_id=twice&permission=READ"
    assert house.wire.ask("POST", again).status == 409
    assert house.wire.ask("POST", f"{again}&group_id={group}").status == 400
    assert house.wire.ask("POST", "/_rest_/bucket_acl?bucket_id=b&user_id=none&permission=READ").status == 404
    assert house.wire.ask("POST", "/_rest_/bucket_acl?bucket_id=none&user_id=twice&permission=READ").status == 404
    assert house.wire.ask("POST", "/_rest_/bucket_acl?bucket_id=b&user_id=twice&permission=ALL").status == 400
    house.make("bucket_acl", user_id="twice", permission="READ")
    house.make("data_policy_acl", user_id="twice")
    assert house.wire.ask("POST", "/_rest_/data_policy_acl?user_id=twice").status == 409


def test_what_is_given_goes_with_whom_and_for_what_it_was_given(house: House) -> None:
    """Deleting a user, a group or a bucket takes entries and memberships along."""
    wire = house.user("leaving")
    group = house.group()
    house.make("bucket", name="short", data_policy_id="Single%20copy%20on%20tape")
    house.make("group_member", group_id=group, member_user_id="leaving")
    kept = house.make("bucket_acl", user_id="olga", permission="JOB")
    house.make("bucket_acl", bucket_id="b", group_id=group, permission="READ")
    house.make("bucket_acl", bucket_id="b", user_id="leaving", permission="READ")
    house.make("bucket_acl", bucket_id="short", user_id="olga", permission="READ")
    before = len(house.wire.ask("GET", "/_rest_/bucket_acl").xml)
    house.drop("bucket", "short")
    assert len(house.wire.ask("GET", "/_rest_/bucket_acl").xml) == before - 1
    house.drop("user", "leaving")
    assert len(house.wire.ask("GET", f"/_rest_/group_member?group_id={group}").xml) == 0
    assert len(house.wire.ask("GET", "/_rest_/bucket_acl").xml) == before - 2
    house.drop("group", group)
    assert len(house.wire.ask("GET", "/_rest_/bucket_acl").xml) == before - 3
    assert wire.ask("GET", "/").status == 403
    house.drop("bucket_acl", kept)


def test_a_data_policy_is_used_by_who_may(house: House) -> None:
    """Naming one needs an entry, of it or of all; the one that the appliance starts with is for everyone."""
    wire = house.user("thrifty")
    house.make("data_policy", name="costly")
    assert wire.ask("POST", "/_rest_/bucket?name=cheap&data_policy_id=Single%20copy%20on%20tape").status == 201
    refused = wire.ask("POST", "/_rest_/bucket?name=dear&data_policy_id=costly")
    assert (refused.status, refused.code) == (403, "AccessDenied")
    assert wire.ask("PUT", "/_rest_/bucket/cheap?data_policy_id=costly").status == 403
    assert wire.ask("POST", "/_rest_/bucket?name=given&data_policy_id=costly&user_id=olga").status == 403
    for parameters in ({"data_policy_id": "costly", "user_id": "thrifty"}, {"user_id": "thrifty"}):
        entry = house.make("data_policy_acl", **parameters)
        assert wire.ask("POST", "/_rest_/bucket?name=dear&data_policy_id=costly").status == 201
        assert wire.ask("DELETE", "/dear").status == 204
        house.drop("data_policy_acl", entry)
    assert wire.ask("DELETE", "/cheap").status == 204
    house.drop("data_policy", "costly")


def test_a_user_owns_as_many_buckets_as_allowed(house: House) -> None:
    """One too many is a 400, also when it is given to the user; fewer later takes none away."""
    wire = house.user("small", max_buckets="2", default_data_policy_id="Single%20copy%20on%20tape")
    assert [wire.ask("PUT", f"/small{number}").status for number in range(3)] == [200, 200, 400]
    assert wire.ask("PUT", "/small2").code == "TooManyBuckets"
    house.make("bucket", name="gift", data_policy_id="Single%20copy%20on%20tape")
    assert house.wire.ask("PUT", "/_rest_/bucket/gift?user_id=small").status == 400
    assert house.wire.ask("PUT", "/_rest_/user/small?max_buckets=0").status == 200
    assert wire.ask("DELETE", "/small0").status == 204
    assert wire.ask("PUT", "/small0").status == 400
    for name in ("small1", "gift"):
        house.drop("bucket", name)
    house.drop("user", "small")


def test_users_are_made_changed_and_deleted(house: House) -> None:
    """An id, a key and a name of one's own; a name that is taken is a 409; who owns a bucket stays."""
    chosen = "11111111-2222-4333-8444-555555555555"
    assert house.make("user", name="eva", id=chosen, secret_key="known", max_buckets="7") == chosen
    shown = house.wire.ask("GET", f"/_rest_/user/{chosen}").xml
    assert [shown.findtext(name) for name in ("Name", "SecretKey", "MaxBuckets", "AuthId")] == [
        *("eva", "known", "7", "ZXZh"),
    ]
    assert house.wire_of("ZXZh", "known").ask("GET", "/").status == 200
    assert house.wire.ask("POST", "/_rest_/user?name=eva").status == 409
    assert house.wire.ask("PUT", "/_rest_/user/eva?name=olga").status == 409
    assert house.wire.ask("PUT", "/_rest_/user/eva?name=").status == 400
    assert house.wire.ask("PUT", "/_rest_/user/eva?name=ada&secret_key=other").status == 200
    assert house.wire_of("ZXZh", "other").ask("GET", "/").xml.findtext("Owner/DisplayName") == "ada"
    again = house.wire.ask("POST", "/_rest_/user?name=eva").xml
    assert again.findtext("AuthId") != "ZXZh", "an access id is of one user"
    assert house.wire.ask("DELETE", "/_rest_/user/olga").status == 409
    assert house.wire.ask("DELETE", "/_rest_/user/Administrator").status == 409
    house.drop("user", "eva")
    house.drop("user", "ada")
    assert house.wire.ask("GET", "/_rest_/user/ada").status == 404


def test_an_older_state_gets_its_groups(tmp_path: Path) -> None:
    """A folder of a release without permissions opens with an administrator, and users who own what they own."""
    settings = ApplianceSettings(directory=str(tmp_path), seed=7)
    with Appliance(settings) as appliance:
        wire = Wire(appliance.endpoint, appliance.access_key, appliance.secret_key)
        old = wire.ask("POST", "/_rest_/user?name=old&default_data_policy_id=Single%20copy%20on%20tape").xml
        wire.ask("POST", "/_rest_/bucket?name=olds&user_id=old")
        wire.ask("PUT", "/others")
        wire.close()
    with sqlite3.connect(tmp_path / "state.sqlite") as db:
        db.execute("DELETE FROM beans WHERE kind IN ('Group', 'GroupMember', 'DataPolicyAcl', 'BucketAcl')")
    db.close()
    for _ in range(2):
        with Appliance(settings) as appliance:
            wire = Wire(appliance.endpoint, appliance.access_key, appliance.secret_key)
            assert len(wire.ask("GET", "/_rest_/group").xml) == 2
            assert wire.ask("PUT", "/_rest_/user/old?max_buckets=10").status == 200
            user = Wire(appliance.endpoint, old.findtext("AuthId") or "", old.findtext("SecretKey") or "")
            assert [user.ask("GET", bucket).status for bucket in ("/olds", "/others")] == [200, 403]
            named = user.ask("POST", "/_rest_/bucket?name=new&data_policy_id=Single%20copy%20on%20tape")
            assert named.status in (201, 409)
            user.close()
            wire.close()
