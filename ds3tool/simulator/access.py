"""Who may do what: groups and their members, lists of permissions on buckets and data policies, owners.

A user may do what the permissions say that were given to the user, or to a group that the user is in, directly or
through other groups; for one bucket or for all of them. Who owns a bucket may do everything with it. Whoever is in the
group of administrators may do everything. Every user is in the group of everyone, without being listed there.

Which operation needs which permission is in `permissions`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from enum import StrEnum

from ds3tool.lazy_dataclass import dataclass
from ds3tool.simulator.buckets import Bucket, Buckets
from ds3tool.simulator.records.beans import Beans, Fields
from ds3tool.simulator.store import Store
from ds3tool.simulator.wire.refusals import denied

# The built-in groups. Source: the vendor's announcement of access control lists (release 3.0).
ADMINISTRATORS = "Administrators"
EVERYONE = "Everyone"
_KINDS = ("User", "Group", "GroupMember", "BucketAcl", "DataPolicyAcl")


class Permission(StrEnum):
    """What may be given on a bucket. OWNER stands for all of them; otherwise none includes another."""

    LIST = "LIST"
    READ = "READ"
    WRITE = "WRITE"
    DELETE = "DELETE"
    JOB = "JOB"
    OWNER = "OWNER"


_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Standing:
    """What one user may do. `everywhere` holds on all buckets, `on` by a bucket's id, `policies` are ids.

    `any_policy`: whether every data policy may be used. A bucket that the user owns is not in `on`.
    """

    user_id: str
    user_name: str
    administrator: bool
    everywhere: frozenset[str]
    on: Mapping[str, frozenset[str]]
    any_policy: bool
    policies: frozenset[str]

    def may(self, permission: Permission, bucket: Bucket | None) -> bool:
        """Tell whether the user has a permission on a bucket; None asks for all buckets."""
        if self.administrator or permission in self.everywhere or Permission.OWNER in self.everywhere:
            return True
        if bucket is None:
            return False
        if bucket.user_id == self.user_id:
            return True
        given = self.on.get(bucket.id, _NOTHING)
        return permission in given or Permission.OWNER in given

    def may_use(self, policy_id: str) -> bool:
        """Tell whether the user may make buckets of a data policy."""
        return self.administrator or self.any_policy or policy_id in self.policies


class Access:
    """The standing of every user, worked out anew after a change of groups or permissions.

    Methods are called with or without the store's lock.
    """

    def __init__(self, store: Store, beans: Beans, buckets: Buckets) -> None:
        self._store = store
        self._beans = beans
        self._buckets = buckets
        # By the user's id; emptied by every change that may be of consequence.
        self._known: dict[str, Standing] = {}
        for kind in _KINDS:
            beans.watch(kind, self._forget)

    def set_up(self, new_id: Callable[[], str], administrator: str) -> None:
        """Make the built-in groups when they are missing: in a new appliance, or in the state of an older release.

        `administrator` is the id of the user who is to administer. Everyone may use the data policies that there are.
        """
        beans = self._beans
        if any(group.get("BuiltIn") for group in beans.all("Group")):
            return
        with self._store.writing():
            administrators, everyone = (
                beans.add("Group", new_id(), {"BuiltIn": True, "Name": name})["Id"]
                for name in (ADMINISTRATORS, EVERYONE)
            )
            member = {"GroupId": administrators, "MemberGroupId": None, "MemberUserId": administrator}
            beans.add("GroupMember", new_id(), member)
            for policy in beans.all("DataPolicy"):
                entry = {"DataPolicyId": policy["Id"], "GroupId": everyone, "UserId": None}
                beans.add("DataPolicyAcl", new_id(), entry)

    def standing(self, user: Fields) -> Standing:
        """Return what a user may do."""
        known = self._known.get(user["Id"])
        if known is None:
            with self._store.lock:
                known = self._known[user["Id"]] = self._work_out(user)
        return known

    def _forget(self) -> None:
        self._known = {}

    def _work_out(self, user: Fields) -> Standing:
        beans = self._beans
        groups = self.groups_of(user["Id"])
        names = {group["Name"] for group in beans.all("Group") if group["Id"] in groups and group.get("BuiltIn")}
        everywhere: set[str] = set()
        on: defaultdict[str, set[str]] = defaultdict(set)
        for entry in beans.all("BucketAcl"):
            if entry["UserId"] == user["Id"] or entry["GroupId"] in groups:
                place = everywhere if entry["BucketId"] is None else on[entry["BucketId"]]
                place.add(entry["Permission"])
        policies = {
            entry["DataPolicyId"]
            for entry in beans.all("DataPolicyAcl")
            if entry["UserId"] == user["Id"] or entry["GroupId"] in groups
        }
        return Standing(
            user_id=user["Id"],
            user_name=user["Name"],
            administrator=ADMINISTRATORS in names,
            everywhere=frozenset(everywhere),
            on={bucket: frozenset(given) for bucket, given in on.items()},
            any_policy=None in policies,
            policies=frozenset(policies - {None}),
        )

    def groups_of(self, user_id: str) -> frozenset[str]:
        """Return the ids of all groups that a user is in, directly or through others."""
        with self._store.lock:
            everyone = {
                group["Id"] for group in self._beans.all("Group") if group.get("BuiltIn") and group["Name"] == EVERYONE
            }
            direct = {each["GroupId"] for each in self._beans.all("GroupMember") if each["MemberUserId"] == user_id}
            return self.groups_around(everyone | direct)

    def groups_around(self, groups: set[str]) -> frozenset[str]:
        """Return the ids of `groups` and of all groups that they are in, directly or through others."""
        with self._store.lock:
            above: defaultdict[str, list[str]] = defaultdict(list)
            for each in self._beans.all("GroupMember"):
                if each["MemberGroupId"] is not None:
                    above[each["MemberGroupId"]].append(each["GroupId"])
        found = set(groups)
        unseen = list(groups)
        while unseen:
            new = [group for group in above[unseen.pop()] if group not in found]
            found.update(new)
            unseen.extend(new)
        return frozenset(found)

    def listable(self, user: Fields) -> list[Bucket]:
        """Return the buckets that a user may list, by name."""
        standing = self.standing(user)
        return [bucket for bucket in self._buckets.all() if standing.may(Permission.LIST, bucket)]

    def check_policy(self, user: Fields, policy: Fields) -> None:
        """Raise a 403 when a user may not make buckets of a data policy."""
        standing = self.standing(user)
        if not standing.may_use(policy["Id"]):
            raise denied(f"The user '{standing.user_name}' may not use the data policy '{policy['Name']}'.")
