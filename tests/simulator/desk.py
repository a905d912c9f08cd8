"""A short way to ask an appliance about configured records."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlencode

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

    def stored(self) -> tuple[str, str, str]:
        """Put an object on tape under a policy of its own; return policy, rule and bucket."""
        domain = self.listed("storage_domain", "Id", name="Tape first copy")[0]
        policy, bucket = self.create("data_policy", name=fresh_name()), fresh_name()
        rule = {"storage_domain_id": domain, "type": "PERMANENT", "isolation_level": "STANDARD"}
        rule_id = self.create("data_persistence_rule", data_policy_id=policy, **rule)
        self.create("bucket", name=bucket, data_policy_id=policy)
        job = self.wire.put_all(bucket, {"a": b"x"})
        jobs = self.appliance.machine.jobs
        with jobs.changed:
            assert jobs.changed.wait_for(lambda: all(each.id != job for each in jobs.active.values()), 60)
        return policy, rule_id, bucket


def fresh_name() -> str:
    return f"n-{uuid.uuid4().hex[:8]}"


@contextmanager
def desk_of(settings: ApplianceSettings) -> Iterator[Desk]:
    """Start an appliance, and close it at the end of the block."""
    with Appliance(settings) as appliance:
        wire = Wire(appliance.endpoint, appliance.access_key, appliance.secret_key)
        yield Desk(appliance, wire)
        wire.close()
