"""Notifications: registrations, the notices that events make for them, and their way to the end points."""

from __future__ import annotations

from ds3tool.simulator.notifications.kinds import KINDS, NoticeKind
from ds3tool.simulator.notifications.service import Notifications

__all__ = ["KINDS", "NoticeKind", "Notifications"]
