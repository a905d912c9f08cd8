"""An appliance with an instance of whatever the contract speaks of, and requests made after the contract's rows."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

from ds3tool.simulator import Appliance
from ds3tool.simulator.contract import Operation, Parameter, Property, kind, operations, words
from ds3tool.simulator.machine import Machine
from ds3tool.simulator.records.engine import kind_of
from ds3tool.simulator.records.parameters import property_of
from tests.simulator.wire import Answer, Wire, path_of

# What an appliance has without being asked, and what it has one of.
FIXED = ("CacheFilesystem", "DataPathBackend", "Node", "TapeDrive", "TapeLibrary", "TapePartition")
# Words that fit where the first one of an enumeration does not.
FITTING = {
    "AutoEjectUponCron": "0 0 2 * * ?",
    "Density": "LTO8",
    "MinimumDaysToRetain": "",
    "NotificationHttpMethod": "POST",
    "Quiesced": "PENDING",
    "TapeType": "LTO8",
}
# Texts that are not free.
_TEXTS = {"bucket": "b", "sort_by": "bar_code"}
_NAMED = {"partition": "TapePartition", "storage_domain": "StorageDomain"}
# Filters that exclude the one by the offset.
_OTHER_PAGES = ("page_start_marker", "last_page")


@dataclass
class Ask:
    """A request but for what the contract says of it: what its path names, parameters, body, bucket and object."""

    identifier: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    bucket: str = "b"
    name: str = "a"
    headers: dict[str, str] = field(default_factory=dict)


class Stage:
    """One appliance, and what was made in it."""

    def __init__(self, appliance: Appliance, wire: Wire) -> None:
        self.appliance = appliance
        self.wire = wire
        self._numbers = itertools.count(1)
        self._tapes = sorted(appliance.machine.library.tapes)

    @property
    def machine(self) -> Machine:
        return self.appliance.machine

    def fresh_name(self) -> str:
        return f"n{next(self._numbers)}"

    # Instances.

    def instance(self, name: str) -> str:
        """Make a new one of a type, or take what is there of those that nobody makes; return its id."""
        if name in FIXED:
            return str(self.machine.beans.all(name)[0]["Id"])
        if name == "TapeDensityDirective" and self.machine.beans.all(name):  # there are few that make sense
            return str(self.machine.beans.all(name)[0]["Id"])
        if name == "Bucket":
            return self.bucket()
        if name in ("Tape", "RefusedTapes"):
            return self.tape()
        if name == "Job":
            return self.wire.start_put("b", {self.fresh_name(): 1}).xml.attrib["JobId"]
        if name in ("Blob", "S3Object"):
            return self.blob if name == "Blob" else self.version[1]
        create = next((row for row in operations().values() if row.action == "CREATE" and _makes(row, name)), None)
        if create is not None:
            answer = self.ask(create, Ask())
            assert answer.status == 201, (create.name, answer)
            return answer.xml.findtext("Id") or ""
        return self.record(name)

    def record(self, name: str, **values: object) -> str:
        """Write a record of a type that no operation makes, every property of it filled; return its id."""
        identifier = str(uuid.uuid4())
        filled = {each.name: self._value(each) for each in kind(name).properties if each.name != "Id"}
        self.machine.beans.add(name, identifier, filled | values)
        return identifier

    def _value(self, each: Property) -> object:
        if each.refers is not None:
            return self.instance(each.refers)
        allowed = words(each.type)
        if allowed is not None:
            return each.default or allowed[0]
        lower = each.type.lower()
        if lower in ("int", "integer", "long", "date", "double"):
            return {"date": 1_700_000_000.5, "double": 0.5}.get(lower, 1)
        return {"boolean": True, "uuid": str(uuid.uuid4())}.get(lower, self.fresh_name())

    def bucket(self) -> str:
        name = self.fresh_name()
        assert self.wire.ask("PUT", f"/{name}").status == 200
        return self.machine.buckets.named(name).id

    def tape(self) -> str:
        """Return the id of a tape that nobody was given yet, from the end where nothing is written."""
        number = self._tapes.pop()
        return self.machine.library.tapes[number].id

    def change_tape(self, state: str, **values: object) -> str:
        """Let a tape be in a state, as if it had come so; return its id."""
        with self.machine.store.lock:
            tape = self.machine.library.find(self.tape())
            for name, value in values.items():
                setattr(tape, name, value)
            self.machine.library.enter(tape, state)
            return tape.id

    def stored(self) -> str:
        """Put an object whose job has ended with it on tape; return its name."""
        name = self.fresh_name()
        job = self.wire.put_all("b", {name: b"x"})
        jobs = self.machine.jobs
        with jobs.changed:
            ended = jobs.changed.wait_for(lambda: all(each.id != job for each in jobs.active.values()), 10)
            assert ended, "a put job never ended"
        return name

    @cached_property
    def version(self) -> tuple[str, str]:
        """The name and id of an object that stays."""
        name = self.stored()
        found = self.wire.ask("GET", f"/_rest_/object/{name}?bucket_id=b")
        return name, found.xml.findtext("Id") or ""

    @cached_property
    def blob(self) -> str:
        name = self.stored()
        body = f'<Objects><Object Name="{name}"/></Objects>'.encode()
        answer = self.wire.ask("PUT", "/_rest_/bucket/b?operation=get_physical_placement&full_details", body)
        return answer.xml[0].attrib["Id"]

    # Requests.

    def ask(self, row: Operation, given: Ask, *, optional: bool = False) -> Answer:
        """Make a request of a row with what is given, with all else that is required, or with everything there is."""
        return self.wire.ask(row.verb, self.target(row, given, optional=optional), given.body, given.headers)

    def total(self, row: Operation, given: Ask, **filters: str) -> int:
        """Return how many a list holds with filters; none when one of them is a 404."""
        answer = self.ask(row, Ask(given.identifier, {**given.parameters, **filters}))
        assert answer.status in (200, 404), (row.name, filters, answer)
        return int(answer.headers["total-result-count"]) if answer.status == 200 else 0

    def target(self, row: Operation, given: Ask, *, optional: bool = False) -> str:
        """Return the path and query of a request."""
        query: dict[str, str | None] = {"operation": row.operation} if row.operation else {}
        for each in row.parameters:
            if each.name in given.parameters:
                query[each.name] = given.parameters[each.name]
            elif each.required or (optional and each.name not in _OTHER_PAGES):
                query[each.name] = self.value(row, each)
        text = "&".join(name if value is None else f"{name}={quote(value, safe='')}" for name, value in query.items())
        return _path(row, given) + (f"?{text}" if text else "")

    def value(self, row: Operation, parameter: Parameter) -> str | None:
        """Return what fits a parameter; None for one that counts by being there."""
        if parameter.void:
            return None
        about = kind_of(row)
        speaks_of = property_of(about, parameter.name) if about is not None and row.style == "rest" else None
        if speaks_of is not None and speaks_of.name in FITTING:
            return FITTING[speaks_of.name]
        allowed = words(parameter.type)
        if allowed is not None:
            return "high" if "HIGH" in allowed else allowed[0].lower()  # not all priorities are for people
        lower = parameter.type.lower()
        if parameter.name in _TEXTS:
            return _TEXTS[parameter.name]
        if parameter.name in _NAMED:
            return str(self.machine.beans.all(_NAMED[parameter.name])[0]["Name"])
        if lower == "uuid":
            return self._identifier(parameter, speaks_of)
        if lower in ("int", "integer", "long"):
            return "1"
        fixed = {"boolean": "True", "double": "0.8", "date": "2026-11-22T12:00:00.000Z"}
        return fixed.get(lower) or self.fresh_name()

    def plain(self, parameter: Parameter) -> str:
        """Return a text of a parameter's form, that names nothing."""
        allowed = words(parameter.type)
        return allowed[0] if allowed is not None else {"boolean": "true"}.get(parameter.type.lower(), "1")

    def _identifier(self, parameter: Parameter, speaks_of: Property | None) -> str:
        if speaks_of is not None and speaks_of.refers is not None:
            return self.instance(speaks_of.refers)
        named = {
            "bucket_id": "Bucket",
            "convert_to_ds3_target": "Ds3Target",
            "data_policy_id": "DataPolicy",
            "job": "Job",
            "storage_domain_id": "StorageDomain",
            "tape_id": "Tape",
            "user_id": "User",
            "version_id": "S3Object",
        }.get(parameter.name)
        return str(uuid.uuid4()) if named is None else self.instance(named)


def _makes(row: Operation, name: str) -> bool:
    return row.style == "rest" and row.success == (201, name)


def _path(row: Operation, given: Ask) -> str:
    if row.style == "s3":
        return {"service": "/", "bucket": f"/{given.bucket}"}.get(row.resource, path_of(given.bucket, given.name))
    return f"/_rest_/{row.resource}" + (f"/{quote(given.identifier)}" if row.one else "")
