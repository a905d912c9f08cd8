"""Configured records after the contract's table: made, listed, shown, changed and deleted by one engine.

A handler of any operation that creates, lists, shows, modifies or deletes may be one of `create`, `listing`, `show`,
`modify`, `modify_all` and `delete`: the row of the contract tells type, parameters and status. What a type needs beyond
that stands in hooks: `making`, `changing` and `deleting` check and complete, `presenting` computes, `visible` hides.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ds3tool.simulator.contract import Kind, Operation, Property, kind, operation, operations, words
from ds3tool.simulator.dispatch import Call
from ds3tool.simulator.machine import Machine
from ds3tool.simulator.records.beans import Fields
from ds3tool.simulator.records.marshalling import list_reply, model_default, record_reply
from ds3tool.simulator.records.paging import page
from ds3tool.simulator.records.parameters import property_of, read, test_of
from ds3tool.simulator.records.references import find, forget_references, resolve
from ds3tool.simulator.wire.messages import Reply
from ds3tool.simulator.wire.refusals import conflict, not_found

__all__ = [
    "change",
    "changing",
    "complete",
    "create",
    "delete",
    "deleting",
    "find",
    "forget_references",
    "kind_of",
    "listing",
    "make",
    "making",
    "modify",
    "modify_all",
    "presenting",
    "resolve",
    "show",
    "visible",
]

# What no two records of a type may have alike, together; beside names, which nobody may share within a type.
_TOGETHER: dict[str, tuple[str, ...]] = {
    "AzureDataReplicationRule": ("DataPolicyId", "TargetId"),
    "AzureTargetBucketName": ("BucketId", "TargetId"),
    "AzureTargetReadPreference": ("BucketId", "TargetId"),
    "BucketAcl": ("BucketId", "GroupId", "Permission", "UserId"),
    "DataPersistenceRule": ("DataPolicyId", "StorageDomainId"),
    "DataPolicyAcl": ("DataPolicyId", "GroupId", "UserId"),
    "Ds3DataReplicationRule": ("DataPolicyId", "TargetId"),
    "Ds3TargetReadPreference": ("BucketId", "TargetId"),
    "GroupMember": ("GroupId", "MemberGroupId", "MemberUserId"),
    "S3DataReplicationRule": ("DataPolicyId", "TargetId"),
    "S3TargetBucketName": ("BucketId", "TargetId"),
    "S3TargetReadPreference": ("BucketId", "TargetId"),
    "StorageDomainMember": ("PoolPartitionId", "StorageDomainId", "TapePartitionId", "TapeType"),
    "TapeDensityDirective": ("PartitionId", "TapeType"),
}
# Several buckets may have the same name in several clouds.
_NAMES_SHARED = frozenset(("AzureTargetBucketName", "S3TargetBucketName"))

Making = Callable[[Call, Fields], None]
Changing = Callable[[Call, Fields, Fields], None]
Deleting = Callable[[Call, Fields], None]
Presenting = Callable[[Call, Fields], Mapping[str, Any]]
Visible = Callable[[Call, Fields], bool]
Hook = TypeVar("Hook", bound=Callable[..., Any])
_MAKING: dict[str, list[Making]] = {}
_CHANGING: dict[str, list[Changing]] = {}
_DELETING: dict[str, list[Deleting]] = {}
_PRESENTING: dict[str, list[Presenting]] = {}
_VISIBLE: dict[str, list[Visible]] = {}


def _register(hooks: dict[str, list[Hook]], kinds: tuple[str, ...]) -> Callable[[Hook], Hook]:
    def register(hook: Hook) -> Hook:
        for name in kinds:
            kind(name)
            hooks.setdefault(name, []).append(hook)
        return hook

    return register


def making(*kinds: str) -> Callable[[Making], Making]:
    """Register what is called with the fields of a record before it is stored: to refuse, or to edit them."""
    return _register(_MAKING, kinds)


def changing(*kinds: str) -> Callable[[Changing], Changing]:
    """Register what is called with a record and its changes before they are stored: to refuse, or to edit them."""
    return _register(_CHANGING, kinds)


def deleting(*kinds: str) -> Callable[[Deleting], Deleting]:
    """Register what is called with a record that a request deletes, inside the transaction: to refuse, or to follow."""
    return _register(_DELETING, kinds)


def presenting(*kinds: str) -> Callable[[Presenting], Presenting]:
    """Register what computes properties, put over the stored ones wherever a record of `kinds` is read."""
    return _register(_PRESENTING, kinds)


def visible(*kinds: str) -> Callable[[Visible], Visible]:
    """Register what tells whether the caller may know of a record; to those who may not it is not there."""
    return _register(_VISIBLE, kinds)


def row_of(call: Call) -> Operation:
    """Return the contract's row of a call that has been dispatched."""
    assert call.row is not None, "the call has not been dispatched"
    return call.row


def kind_of(row: Operation) -> Kind | None:
    """Return the type that an operation is about: of its answer, or of what lists or shows its resource answer."""
    return _kind_named(row.style, row.name)


@functools.cache
def _kind_named(style: str, name: str) -> Kind | None:
    row = operation(style, name)
    _, answer = row.success
    if answer is None:
        alike = [each for each in operations().values() if (each.style, each.resource) == (row.style, row.resource)]
        answers = [each.success[1] for each in alike if each.action in ("SHOW", "LIST")]
        answer = next((each for each in answers if each is not None), None)
    if answer is None:
        return None
    try:
        return kind(answer.rstrip("*"))
    except KeyError:
        return None


def _kind(call: Call) -> Kind:
    found = kind_of(row_of(call))
    assert found is not None, f"{row_of(call).name} is about no type"
    return found


def complete(call: Call, row: Kind, record: Fields) -> Fields:
    """Return a record with the model's defaults, and with what is computed when it is read."""
    values = {each.name: model_default(each) for each in row.properties} | record
    for hook in _PRESENTING.get(row.name, ()):
        values |= hook(call, values)
    return values


def _may_see(call: Call, row: Kind, record: Fields) -> bool:
    return all(hook(call, record) for hook in _VISIBLE.get(row.name, ()))


def _found(call: Call, row: Kind) -> Fields:
    """Return the record that the path names; a 404 when there is none that the caller may know of."""
    record = find(call.machine, row.name, call.identifier)
    if not _may_see(call, row, record):
        raise not_found(row.name, call.identifier)
    return record


def _given(call: Call, row: Kind) -> list[tuple[str, Property]]:
    """Return the parameters of a call that speak of properties, in the order of the contract."""
    found = []
    for parameter in row_of(call).parameters:
        if parameter.name in call.parameters and not parameter.void:
            each = property_of(row, parameter.name)
            if each is not None:
                found.append((parameter.name, each))
    return found


# Lists and details.


def listing(call: Call, found: Iterable[Fields] | None = None) -> Reply:
    """List the records of a type, or those `found`: filtered by the parameters, in the type's order, one page."""
    row, machine = _kind(call), call.machine
    with machine.store.lock:
        records = machine.beans.all(row.name) if found is None else found
        chosen = [complete(call, row, each) for each in records if _may_see(call, row, each)]
        for parameter, each in _given(call, row):
            test = test_of(call, parameter, each)
            chosen = [record for record in chosen if test(record[each.name])]
        for each in reversed(row.order):
            descending = each.sort is not None and each.sort[1]
            chosen.sort(key=_sort_key(each), reverse=descending)
        part, headers = page(call, chosen, lambda record: str(record["Id"]))
        return list_reply(row, part, headers)


def _sort_key(each: Property) -> Callable[[Fields], tuple[bool, Any]]:
    # As databases have it: a null last in an ascending order, words in the order in which they were declared.
    places = {word: place for place, word in enumerate(words(each.type) or ())}

    def key(record: Fields) -> tuple[bool, Any]:
        value = record[each.name]
        return (True, 0) if value is None else (False, places.get(value, -1) if places else value)

    return key


def show(call: Call) -> Reply:
    """Show the record that the path names."""
    row = _kind(call)
    with call.machine.store.lock:
        return record_reply(row, complete(call, row, _found(call, row)), row_of(call).success[0])


# Changes.


def create(call: Call) -> Reply:
    """Create a record from the parameters, with the model's defaults for the rest."""
    row, machine = _kind(call), call.machine
    with machine.store.lock:
        values: Fields = {}
        for parameter, each in _given(call, row):
            if each.name == "Id" and not call.parameters[parameter]:
                continue
            values[each.name] = read(call, parameter, each)
        owner = row.property("UserId")
        if owner is not None and "user_id" not in {each.name for each in row_of(call).parameters}:
            values.setdefault("UserId", str(call.user["Id"]))
        record = make(call, row.name, values)
        return record_reply(row, complete(call, row, record), row_of(call).success[0])


def make(call: Call, name: str, values: Fields) -> Fields:
    """Store a record of the type `name` with its defaults, after its hooks; a 409 for what another one has already."""
    row, machine = kind(name), call.machine
    fresh: Fields = {}
    for each in row.properties:
        if each.default == "now":
            fresh[each.name] = machine.clock.now()
        elif not each.omitted and each.name != "Id":
            fresh[each.name] = model_default(each)
    fresh |= values
    identifier = fresh.pop("Id", None) or machine.new_id()
    with machine.store.writing():
        for hook in _MAKING.get(name, ()):
            hook(call, fresh)
        _check_unique(machine, row, {**fresh, "Id": identifier})
        if machine.beans.get(name, identifier) is not None:
            raise conflict(f"Conflict[409]: The {name} '{identifier}' exists already.")
        return machine.beans.add(name, identifier, fresh)


def modify(call: Call) -> Reply:
    """Change what the parameters give of the record that the path names."""
    row, machine = _kind(call), call.machine
    with machine.store.lock:
        changed = change(call, row, _found(call, row))
        return record_reply(row, complete(call, row, changed), row_of(call).success[0])


def modify_all(call: Call) -> Reply:
    """Change what the parameters give of every record of a type, or of none when one cannot be changed."""
    row, machine = _kind(call), call.machine
    with machine.store.writing():
        for record in machine.beans.all(row.name):
            change(call, row, record)
    return Reply(row_of(call).success[0])


def change(call: Call, row: Kind, record: Fields) -> Fields:
    """Change what the parameters give of a record, after its hooks, and return it."""
    machine = call.machine
    with machine.store.writing():
        changes = {each.name: read(call, parameter, each) for parameter, each in _given(call, row)}
        for hook in _CHANGING.get(row.name, ()):
            hook(call, record, changes)
        _check_unique(machine, row, {**record, **changes})
        return machine.beans.update(row.name, str(record["Id"]), changes)


def _check_unique(machine: Machine, row: Kind, values: Fields) -> None:
    """Raise a 409 when another record of the type has the same name, or the same of all that must differ."""
    together = _TOGETHER.get(row.name, ())
    named = row.property("Name") is not None and row.name not in _NAMES_SHARED
    if not together and not named:
        return
    for other in machine.beans.all(row.name):
        if other["Id"] == values["Id"]:
            continue
        if named and other.get("Name") == values.get("Name"):
            raise conflict(f"Conflict[409]: A {row.name} named '{values.get('Name')}' exists already.")
        if together and all(other.get(name) == values.get(name) for name in together):
            raise conflict(f"Conflict[409]: A {row.name} with the same {', '.join(together)} exists already.")


def delete(call: Call) -> Reply:
    """Delete the record that the path names, and what goes with it; a 409 while something else needs it."""
    row, machine = _kind(call), call.machine
    with machine.store.writing():
        record = _found(call, row)
        for hook in _DELETING.get(row.name, ()):
            hook(call, record)
        forget_references(machine, row.name, str(record["Id"]))
        machine.beans.remove(row.name, str(record["Id"]))
    return Reply(row_of(call).success[0])
