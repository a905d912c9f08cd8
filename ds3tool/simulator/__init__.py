"""An appliance in a box: a real HTTP server that speaks the protocol, with its state in SQLite and files.

    with Appliance(ApplianceSettings(blob_size=1 << 20)) as appliance:
        connect(appliance.endpoint, appliance.access_key, appliance.secret_key)

What it does not imitate: TLS, copies to clouds and to other appliances (their targets and rules are records, and put
jobs can be told), disk pools, several nodes, compression. Puts without a job share one for each bucket and user while
their data are on their way to tape; a job that was asked to be aggregating waits half an hour for more.
What the protocol reference marks as inference is a choice here.

With `ApplianceSettings(timed=True)` drives and robot take the time that real ones do, by a clock that runs `pace` times
as fast as the world's; `appliance.machine.clock` changes that, `appliance.machine.ledger` tells what was waited for.

What an appliance may do beside the usual is in `Quirk`: `ApplianceSettings(quirks=named_quirks(["release-1.2"]))`.
What goes wrong now and then is in `Fault`: `ApplianceSettings(faults=parse_rates(["lost-reply=0.05"]), seed=7)`, or
`appliance.faults.set("job-expired", 1.0, most=1)` while it runs; `appliance.faults.struck("job-expired")` counts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ds3tool.simulator.appliance import STATE_FILE, Appliance
    from ds3tool.simulator.clock import Clock, ManualClock, SimulatedClock, SystemClock
    from ds3tool.simulator.faults import Fault, FaultRate, Faults, parse_rates
    from ds3tool.simulator.quirks import Quirk, named_quirks
    from ds3tool.simulator.settings import ApplianceSettings

__all__ = [
    "STATE_FILE",
    "Appliance",
    "ApplianceSettings",
    "Clock",
    "Fault",
    "FaultRate",
    "Faults",
    "ManualClock",
    "Quirk",
    "SimulatedClock",
    "SystemClock",
    "named_quirks",
    "parse_rates",
]

_HOMES = {
    "STATE_FILE": "appliance",
    "Appliance": "appliance",
    "Clock": "clock",
    "ManualClock": "clock",
    "SimulatedClock": "clock",
    "SystemClock": "clock",
    "Fault": "faults",
    "FaultRate": "faults",
    "Faults": "faults",
    "parse_rates": "faults",
    "Quirk": "quirks",
    "named_quirks": "quirks",
    "ApplianceSettings": "settings",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # any of the names above
    """Import what is asked for: whoever only names quirks need not wait for a whole appliance."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
