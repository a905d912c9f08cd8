"""Times by a cron expression of six or seven fields: second, minute, hour, day of month, month, day of week, year.

Each field is `*`, `?`, a number, a name (JAN, MON), a range (`1-5`), steps (`0/15`, `*/2`) or a list of those. Days of
the week count from 1, SUN. What else such schedulers know (`L`, `W`, `#`) is refused. Seconds are not looked at: an
expression names minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from ds3tool.simulator.wire.refusals import bad_request

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_RANGES = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (1, 7), (1970, 2199))
_FIELDS = (6, 7)


class CronTimes:
    """The minutes that an expression names; a 400 for one that cannot be read."""

    def __init__(self, text: str) -> None:
        fields = text.split()
        if len(fields) not in _FIELDS:
            raise bad_request(f"'{text}' is no cron expression: it has {len(fields)} fields instead of 6 or 7.")
        fields += ["*"] * (len(_RANGES) - len(fields))
        self._allowed = [
            frozenset(_values(field, low, high, place))
            for place, (field, (low, high)) in enumerate(zip(fields, _RANGES, strict=True))
        ]

    def between(self, start: float, end: float) -> bool:
        """Tell whether it names a minute after `start` and not after `end`, seconds since 1970, UTC.

        Of more than a week only the last one is looked at.
        """
        moment = datetime.fromtimestamp(max(start, end - 7 * 86_400.0), UTC).replace(second=0, microsecond=0)
        last = datetime.fromtimestamp(end, UTC)
        while (moment := moment + timedelta(minutes=1)) <= last:
            if self._names(moment):
                return True
        return False

    def _names(self, moment: datetime) -> bool:
        weekday = moment.isoweekday() % 7 + 1
        parts = (moment.minute, moment.hour, moment.day, moment.month, weekday, moment.year)
        return all(part in allowed for part, allowed in zip(parts, self._allowed[1:], strict=True))


def _values(field: str, low: int, high: int, place: int) -> Iterator[int]:
    for part in field.upper().split(","):
        body, slash, step = part.partition("/")
        first, dash, last = body.partition("-")
        if body in ("*", "?"):
            start, end = low, high
        else:
            start = _number(first, place, field)
            end = _number(last, place, field) if dash else (high if slash else start)
        stride = _number(step, 0, field) if slash else 1
        if not low <= start <= end <= high or stride < 1:
            raise bad_request(f"'{field}' is not a field of a cron expression: it allows {low} to {high}.")
        yield from range(start, end + 1, stride)


def _number(text: str, place: int, field: str) -> int:
    names = _MONTHS if place == 4 else _DAYS if place == 5 else ()
    if text in names:
        return names.index(text) + 1
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        raise bad_request(f"'{field}' is not a field of a cron expression.")
    return int(text)
