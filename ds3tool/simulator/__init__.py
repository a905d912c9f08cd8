"""An appliance in a box: a real HTTP server that speaks the protocol, with its state in SQLite and files.

    with Appliance(ApplianceSettings(blob_size=1 << 20)) as appliance:
        connect(appliance.endpoint, appliance.access_key, appliance.secret_key)

What it does not imitate: permissions (every user may do everything), TLS, replication and cloud targets, disk pools,
multipart upload, notifications, feature keys, several nodes, mount and seek times, tape compaction and import of
foreign tapes, compression. Naked puts get one job each and one blob each, whatever their size. An aggregating job
ends with its last blob instead of waiting for more. What the protocol reference marks as inference is a choice here.
"""

from ds3tool.simulator.appliance import STATE_FILE, Appliance
from ds3tool.simulator.clock import Clock, ManualClock, SystemClock
from ds3tool.simulator.settings import ApplianceSettings

__all__ = ["STATE_FILE", "Appliance", "ApplianceSettings", "Clock", "ManualClock", "SystemClock"]
