"""What limits a transfer, judged from what it has used: one sentence, with the figures it rests on.

Only what the figures show is said. From here nobody can see into the appliance or the network: what neither side's
kernel tells apart is called by both names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

from ds3tool.bench.usage import Usage
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_size


class Limit(StrEnum):
    """What can limit a transfer."""

    ASKED = "asked"
    CLIENT_CPU = "client cpu"
    MACHINE = "machine"
    DISK = "disk"
    NETWORK = "network"
    APPLIANCE = "appliance"
    NETWORK_OR_APPLIANCE = "network or appliance"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What limits, and why that is said, as a sentence."""

    limit: Limit
    because: str


@dataclass(frozen=True, slots=True)
class Asked:
    """How a run went about it: `sends` (a put) or not, whether files are read or written, `--bwlimit` if any."""

    sends: bool
    on_disk: bool = False
    rate: int | None = None


# So much of what there is counts as all of it: the rest goes into beginnings and ends.
_ALMOST_ALL = 0.85
_MOST = 0.5
# A shorter run is mostly its own beginning.
_SHORTEST_SECONDS = 0.5
# A request that takes no longer than so many round trips is the network's: one there and back, and its bytes.
_ROUND_TRIPS = 2.0
# Below this a round trip is a loopback's or a switch's, and no distance to be hidden.
_NEAR_SECONDS = 0.0005
_LOSSY = 0.01

_Judge = Callable[[Usage, Asked], Verdict | None]


def judge(usage: Usage, asked: Asked) -> Verdict:
    """Return what limits a run; the first of these that its figures show.

    ========================================================  ======================
    what is seen                                              what limits
    ========================================================  ======================
    0.9 of `--bwlimit` is reached                             that
    half of the time nothing could be moved                   the appliance
    all cores, or all of one thread, are busy with it         the client's CPU
    threads wait for a core, mostly                           the machine
    workers wait in the source; or in bodies, while nothing   the disk (the source
    is on its way; or bytes wait to be written                where that is memory)
    sent bytes are not taken: a full receive window           the appliance
    bytes are under way, and the own buffer is too small      the network's distance
    bytes are under way, and nothing else is seen             the network
    workers wait for answers, longer than round trips take    the appliance
    they wait as long as round trips take                     the network's distance
    a get's workers wait amid bodies                          network or appliance
    ========================================================  ======================
    """
    if usage.seconds < _SHORTEST_SECONDS:
        return Verdict(
            Limit.UNKNOWN, f"it was over in {usage.seconds:.2f} s, too soon to tell; take more or larger objects"
        )
    judges: Sequence[_Judge] = (_asked, _waited, _cpu, _machine, _workers, _small)
    for one in judges:
        verdict = one(usage, asked)
        if verdict is not None:
            return verdict if verdict.limit in _KNOW_THE_MACHINE else _with_the_machine(verdict, usage)
    told = ", ".join(f"{share:.0%} {what}" for what, share in _shares(usage).items() if share >= 0.05)
    workers = f"; the time of its workers went: {told}" if told else ""
    unknown = Verdict(Limit.UNKNOWN, f"no single thing: ds3tool kept {_cores(usage.cpu, usage)} busy{workers}")
    return _with_the_machine(unknown, usage)


# Verdicts that other programs of this machine change nothing about, or that name them already.
_KNOW_THE_MACHINE = frozenset({Limit.ASKED, Limit.CLIENT_CPU, Limit.MACHINE})


def _with_the_machine(verdict: Verdict, usage: Usage) -> Verdict:
    """Add that all cores of this machine were busy, where they were: an appliance on it shares them."""
    if usage.machine_cpu is None or usage.machine_cpu < 0.95 * usage.cores * usage.seconds:
        return verdict
    return Verdict(verdict.limit, f"{verdict.because}; all cores of this machine were busy, mostly with other programs")


def _cores(cpu: float, usage: Usage) -> str:
    return f"{cpu / usage.seconds:.2g} of {usage.cores} cores"


def _asked(usage: Usage, asked: Asked) -> Verdict | None:
    if asked.rate is None or usage.bytes_per_second < 0.9 * asked.rate:
        return None
    reached, wanted = format_size(usage.bytes_per_second), format_size(asked.rate)
    return Verdict(Limit.ASKED, f"--bwlimit: {reached}/s were reached of {wanted}/s")


def _waited(usage: Usage, asked: Asked) -> Verdict | None:
    share = usage.waiting / usage.seconds
    if share < _MOST:
        return None
    what = "it had no room in its cache" if asked.sends else "it had nothing loaded"
    retries = f", {usage.retries} requests had to be sent again" if usage.retries else ""
    return Verdict(Limit.APPLIANCE, f"{share:.0%} of the time it offered nothing to move: {what}, or was busy{retries}")


def _cpu(usage: Usage, asked: Asked) -> Verdict | None:
    del asked
    if usage.cpu >= _ALMOST_ALL * usage.cores * usage.seconds:
        return Verdict(Limit.CLIENT_CPU, f"ds3tool kept {_cores(usage.cpu, usage)} busy")
    if usage.busiest_thread >= _ALMOST_ALL * usage.seconds:
        share = usage.busiest_thread / usage.seconds
        return Verdict(Limit.CLIENT_CPU, f"one thread, which is all that can go at once there, was busy {share:.0%}")
    return None


def _machine(usage: Usage, asked: Asked) -> Verdict | None:
    del asked
    # Digests are part of none of the three.
    at_work = max(
        usage.reading + usage.moving + usage.answering, usage.queued + usage.cpu, usage.seconds - usage.waiting
    )
    share = usage.queued / at_work
    if share < _MOST:
        return None
    return Verdict(
        Limit.MACHINE,
        f"{share:.0%} of the time that its threads could have been at work they waited for one of the {usage.cores} "
        "cores, which other programs had",
    )


def _shares(usage: Usage) -> dict[str, float]:
    """Return the shares of the workers' time, of large blobs; empty when they had none."""
    total = usage.reading + usage.moving + usage.answering
    if not total:
        return {}
    return {
        "reading": usage.reading / total,
        "moving": usage.moving / total,
        "waiting for answers": usage.answering / total,
    }


def _workers(usage: Usage, asked: Asked) -> Verdict | None:
    shares = _shares(usage)
    if not shares or usage.reading + usage.moving + usage.answering < _MOST * (usage.seconds - usage.waiting):
        return None
    if shares["reading"] >= _MOST:
        where = "the disk under the source" if asked.on_disk else "memory, where the source is"
        limit = Limit.DISK if asked.on_disk else Limit.CLIENT_CPU
        return Verdict(limit, f"{shares['reading']:.0%} of the workers' time went into reading from {where}")
    if shares["moving"] >= _MOST:
        return _sending(usage, asked) if asked.sends else _receiving(usage, asked)
    if shares["waiting for answers"] >= _MOST and usage.answers:
        return _answers(usage, usage.answering / usage.answers, asked)
    return None


def _sending(usage: Usage, asked: Asked) -> Verdict | None:
    wire = usage.wire
    if wire is None or not usage.moving:
        return Verdict(
            Limit.NETWORK_OR_APPLIANCE, "the workers waited for bytes to be taken; this system does not tell by whom"
        )
    busy = wire.busy / usage.moving
    if busy < _MOST:
        if not asked.on_disk:
            return None
        return Verdict(
            Limit.DISK, f"while files were sent, nothing was under way {1 - busy:.0%} of the time: they came too slowly"
        )
    if wire.receiver_full >= _MOST * wire.busy:
        share = wire.receiver_full / wire.busy
        return Verdict(
            Limit.APPLIANCE, f"{share:.0%} of the time that bytes were under way, it took no more (its window was full)"
        )
    if wire.buffer_full >= _MOST * wire.busy:
        share = wire.buffer_full / wire.busy
        return Verdict(
            Limit.NETWORK,
            f"its distance: {share:.0%} of the time a connection had as much under way as it may; try more --transfers",
        )
    lost = wire.retransmitted / wire.segments if wire.segments else 0.0
    how = f"{lost:.1%} of all segments had to be sent twice" if lost >= _LOSSY else "it takes no more at once"
    return Verdict(
        Limit.NETWORK, f"bytes were under way {min(busy, 1):.0%} of the time, and the appliance had room: {how}"
    )


def _receiving(usage: Usage, asked: Asked) -> Verdict | None:
    wire = usage.wire
    if wire is not None and wire.looks and wire.unread >= _MOST * wire.looks:
        share = wire.unread / wire.looks
        if asked.on_disk:
            return Verdict(Limit.DISK, f"{share:.0%} of the time bytes had come and were not written yet")
        return Verdict(Limit.CLIENT_CPU, f"{share:.0%} of the time bytes had come and were not checked yet")
    return Verdict(
        Limit.NETWORK_OR_APPLIANCE,
        "the workers waited for bytes amid bodies; which of the two is slow, nobody can tell from here",
    )


def _answers(usage: Usage, mean: float, asked: Asked) -> Verdict:
    trip = usage.round_trip
    after = "after the last byte" if asked.sends else "before the first byte"
    if trip is not None and trip >= _NEAR_SECONDS and mean <= _ROUND_TRIPS * trip:
        return Verdict(
            Limit.NETWORK,
            f"its distance: an answer took {short_time(mean)}, and there and back is {short_time(trip)}; try "
            "more --transfers or larger objects",
        )
    beside = "" if trip is None else f", of which the network is {short_time(trip)}"
    return Verdict(Limit.APPLIANCE, f"the workers waited for its answers, {short_time(mean)} each {after}{beside}")


def _small(usage: Usage, asked: Asked) -> Verdict | None:
    """Judge a run of small blobs, which is one thread over many connections that was not busy."""
    mean = usage.seconds_per_request
    if mean is None or usage.reading + usage.moving + usage.answering >= _MOST * usage.seconds:
        return None
    if usage.busiest_thread >= _MOST * usage.seconds:
        return None
    trip = usage.round_trip
    if trip is not None and trip >= _NEAR_SECONDS and mean <= _ROUND_TRIPS * trip:
        return Verdict(
            Limit.NETWORK,
            f"its distance: a request took {short_time(mean)} on {usage.connections} connections, and there and "
            f"back is {short_time(trip)}; try more --transfers",
        )
    beside = "" if trip is None else f", of which the network is {short_time(trip)}"
    del asked
    return Verdict(
        Limit.APPLIANCE,
        f"a request took about {short_time(mean)} on {usage.connections} connections{beside}",
    )


def short_time(seconds: float) -> str:
    """Return a short time for people: `35 us`, `2.1 ms`, `1.5 s`."""
    for most, factor, unit in ((0.0009995, 1e6, "us"), (0.9995, 1e3, "ms")):
        if seconds < most:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s" if seconds < 999 else f"{seconds:.0f} s"
