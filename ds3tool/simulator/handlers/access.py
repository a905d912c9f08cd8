"""Users, groups and their members, lists of permissions: what their records need beyond being kept."""

from __future__ import annotations

import base64

from ds3tool.simulator.access import EVERYONE
from ds3tool.simulator.contract import kind
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.records import engine as records
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.records.marshalling import record_reply
from ds3tool.simulator.wire.messages import Reply
from ds3tool.simulator.wire.refusals import bad_request, conflict, denied

# Users.


@records.making("User")
def make_user(call: Call, values: Fields) -> None:
    """Give a user an access id, of the name as the appliance makes them, and a secret key unless one is given."""
    machine = call.machine
    taken = {each["AuthId"] for each in machine.beans.all("User")}
    text = values["Name"]
    while (access_id := base64.b64encode(text.encode()).decode()) in taken:  # of a user that has been renamed since
        text += "_"
    values["AuthId"] = access_id
    values["SecretKey"] = values.get("SecretKey") or machine.new_secret()


@rest("RegenerateUserSecretKey")
def regenerate_key(call: Call) -> Reply:
    """Give a user another secret key; what is signed with the one before is refused from then on."""
    machine = call.machine
    with machine.store.lock:
        user = records.find(machine, "User", call.identifier)
        changed = machine.beans.update("User", str(user["Id"]), {"SecretKey": machine.new_secret()})
        return record_reply(kind("User"), records.complete(call, kind("User"), changed), 200)


@records.deleting("User")
def delete_user(call: Call, user: Fields) -> None:
    """Refuse to let go of the appliance's own administrator, and of who owns buckets or has jobs in progress."""
    machine = call.machine
    if user["Id"] == machine.administrator["Id"]:
        raise conflict(f"Conflict[409]: The user '{user['Name']}' is the appliance's administrator.")
    if any(bucket.user_id == user["Id"] for bucket in machine.buckets.all()):
        raise conflict(f"Conflict[409]: The user '{user['Name']}' owns buckets.")
    if any(job.user_id == user["Id"] for job in machine.jobs.active.values()):
        raise conflict(f"Conflict[409]: The user '{user['Name']}' has jobs in progress.")


# Groups.


def _refuse_built_in(group: Fields) -> None:
    if group.get("BuiltIn"):
        raise denied(f"The group '{group['Name']}' is built in, and stays as it is.")


@records.changing("Group")
def change_group(_: Call, group: Fields, __: Fields) -> None:
    """Let built-in groups keep their names."""
    _refuse_built_in(group)


@records.deleting("Group")
def delete_group(_: Call, group: Fields) -> None:
    """Let built-in groups stay."""
    _refuse_built_in(group)


@rest("VerifyUserIsMemberOfGroup")
def verify_member(call: Call) -> Reply:
    """Answer 200 when a user, the caller unless one is named, is in a group by whatever way; 204 when not."""
    machine = call.machine
    with machine.store.lock:
        group = records.find(machine, "Group", call.identifier)
        named = call.text("user_id")
        user = records.find(machine, "User", named) if named else call.user
        if group["Id"] not in machine.access.groups_of(str(user["Id"])):
            return Reply(204)
        return record_reply(kind("Group"), records.complete(call, kind("Group"), group), 200)


@records.making("GroupMember")
def make_member(call: Call, values: Fields) -> None:
    """Take one member, a user or a group, into a group; a 409 for a group that the other one is in already."""
    machine = call.machine
    _refuse_two(call, "member_user_id", "member_group_id")
    group = records.find(machine, "Group", values["GroupId"])
    if group.get("BuiltIn") and group["Name"] == EVERYONE:
        raise denied(f"The group '{group['Name']}' has every user in it, and nobody is taken in.")
    member = values.get("MemberGroupId")
    if member is not None and member in machine.access.groups_around({str(group["Id"])}):
        raise conflict(f"Conflict[409]: The group '{group['Name']}' is in the group '{member}', or is that one.")


@records.deleting("GroupMember")
def delete_member(call: Call, member: Fields) -> None:
    """Let the appliance's own administrator stay one: somebody has to be."""
    if member["MemberUserId"] == call.machine.administrator["Id"]:
        group = records.find(call.machine, "Group", member["GroupId"])
        if group.get("BuiltIn"):
            raise denied(f"The appliance's administrator stays in the group '{group['Name']}'.")


# Permissions.


@records.making("BucketAcl", "DataPolicyAcl")
def make_entry(call: Call, _: Fields) -> None:
    """Give a permission to one user or one group."""
    _refuse_two(call, "user_id", "group_id")


def _refuse_two(call: Call, user: str, group: str) -> None:
    # The contract has an operation for each; which one was meant cannot be told.
    if call.has(user) and call.has(group):
        raise bad_request(f"The parameters {user} and {group} exclude each other.")
