"""What limits a transfer is judged by its figures alone: each kind of trouble has its own look."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ds3tool.bench.limits import Asked, Limit, judge, short_time
from ds3tool.bench.usage import Usage
from ds3tool.bench.wire import WireFigures

PUT = Asked(sends=True)
GET = Asked(sends=False)
PUT_FILES = replace(PUT, on_disk=True)
GET_FILES = replace(GET, on_disk=True)

# Ten seconds of four cores: 4 workers send 10 GB in blobs of 10 MB, all the time, over a network that takes no more.
SENDING = Usage(
    seconds=10.0,
    blobs=1000,
    bytes=10_000_000_000,
    cores=4,
    cpu=3.0,
    busiest_thread=1.0,
    machine_cpu=5.0,
    reading=1.0,
    moving=36.0,
    answering=3.0,
    answers=1000,
    answer_median=0.002,
    answer_p99=0.02,
    connections=4,
    round_trip=0.0002,
    wire=WireFigures(busy=35.0, receiver_full=2.0, buffer_full=1.0, segments=1_000_000, retransmitted=10),
)
# The same for small blobs: one thread over 16 connections, and no figures of workers.
SMALL = replace(
    SENDING, bytes=40_000_000, blobs=10_000, reading=0.0, moving=0.0, answering=0.0, answers=0, connections=16
)
# Workers that receive, and whose sockets are empty whenever somebody looks.
RECEIVING = replace(SENDING, wire=WireFigures(looks=400, unread=10))


def wire(**changed: float) -> WireFigures:
    assert SENDING.wire is not None
    return replace(SENDING.wire, **changed)  # type: ignore[arg-type]  # the figures that a test names


@pytest.mark.parametrize(
    ("usage", "asked", "limit", "said"),
    [
        (replace(SENDING, seconds=0.4), PUT, Limit.UNKNOWN, "too soon"),
        (SENDING, replace(PUT, rate=1_000_000_000), Limit.ASKED, "--bwlimit"),
        (SENDING, replace(PUT, rate=2_000_000_000), Limit.NETWORK, "takes no more at once"),
        (replace(SMALL, busiest_thread=7.0, machine_cpu=40.0), PUT, Limit.UNKNOWN, "mostly with other programs"),
        (replace(SENDING, waiting=6.0), PUT, Limit.APPLIANCE, "60% of the time it offered nothing"),
        (replace(RECEIVING, waiting=6.0, retries=7), GET, Limit.APPLIANCE, "nothing loaded, or was busy, 7 requests"),
        (replace(SENDING, cpu=36.0, machine_cpu=37.0), PUT, Limit.CLIENT_CPU, "3.6 of 4 cores"),
        (replace(SMALL, busiest_thread=9.5), PUT, Limit.CLIENT_CPU, "one thread"),
        (replace(SENDING, queued=25.0), PUT, Limit.MACHINE, "62% of the time"),
        (replace(SENDING, reading=1.0, moving=2.0, answering=1.0, queued=27.0), PUT, Limit.MACHINE, "90% of the time"),
        (replace(SMALL, queued=6.0), PUT, Limit.MACHINE, "60% of the time"),
        (replace(SENDING, machine_cpu=39.5), PUT, Limit.NETWORK, "; all cores of this machine were busy"),
        (replace(SENDING, cpu=36.0, machine_cpu=39.5), PUT, Limit.CLIENT_CPU, "ds3tool kept 3.6 of 4 cores busy"),
        (replace(SENDING, reading=30.0, moving=8.0), PUT_FILES, Limit.DISK, "73% of the workers' time"),
        (replace(SENDING, reading=30.0, moving=8.0), PUT, Limit.CLIENT_CPU, "from memory"),
        (replace(SENDING, wire=wire(busy=9.0)), PUT_FILES, Limit.DISK, "nothing was under way 75% of the time"),
        (replace(SENDING, wire=wire(busy=9.0)), PUT, Limit.UNKNOWN, "90% moving"),
        (replace(SENDING, wire=wire(receiver_full=30.0)), PUT, Limit.APPLIANCE, "its window was full"),
        (replace(SENDING, wire=wire(buffer_full=30.0)), PUT, Limit.NETWORK, "its distance"),
        (replace(SENDING, wire=wire(retransmitted=50_000)), PUT, Limit.NETWORK, "5.0% of all segments"),
        (replace(SENDING, wire=None), PUT, Limit.NETWORK_OR_APPLIANCE, "does not tell by whom"),
        (replace(SENDING, moving=4.0, answering=35.0), PUT, Limit.APPLIANCE, "35 ms each after the last byte"),
        (
            replace(SENDING, moving=4.0, answering=35.0, round_trip=0.03),
            PUT,
            Limit.NETWORK,
            "an answer took 35 ms, and there and back is 30 ms",
        ),
        (replace(RECEIVING, moving=4.0, answering=35.0), GET, Limit.APPLIANCE, "35 ms each before the first byte"),
        (RECEIVING, GET, Limit.NETWORK_OR_APPLIANCE, "nobody can tell"),
        (replace(RECEIVING, wire=WireFigures(looks=400, unread=300)), GET_FILES, Limit.DISK, "not written yet"),
        (replace(RECEIVING, wire=WireFigures(looks=400, unread=300)), GET, Limit.CLIENT_CPU, "not checked yet"),
        (SMALL, PUT, Limit.APPLIANCE, "a request took about 16 ms on 16 connections"),
        (replace(SMALL, round_trip=0.01), PUT, Limit.NETWORK, "there and back is 10 ms"),
        (replace(SMALL, busiest_thread=7.0), PUT, Limit.UNKNOWN, "no single thing"),
    ],
)
def test_each_trouble_is_told_from_the_others(usage: Usage, asked: Asked, limit: Limit, said: str) -> None:
    """The figures of one trouble lead to its name, and the sentence holds the evidence."""
    verdict = judge(usage, asked)
    assert verdict.limit is limit, verdict
    assert said in verdict.because


def test_shares_are_those_of_the_whole_time() -> None:
    """A run that waited for half of its time is not judged by what its workers did in the other."""
    waiting = replace(SENDING, waiting=5.0, moving=18.0, reading=0.5, answering=1.5, wire=wire(busy=17.0))
    assert judge(waiting, PUT).limit is Limit.APPLIANCE
    assert judge(replace(waiting, waiting=4.9), PUT).limit is Limit.NETWORK


def test_rates_and_costs_are_those_of_the_transfer() -> None:
    """What is shown for a GiB and a blob comes from the same figures; of nothing moved there is nothing to tell."""
    assert SENDING.bytes_per_second == 1e9
    assert SENDING.blobs_per_second == 100
    assert SENDING.cpu_per_blob == pytest.approx(0.003)
    assert SENDING.cpu_per_gib == pytest.approx(3.0 * 2**30 / 1e10)
    nothing = replace(SENDING, blobs=0, bytes=0, seconds=0.0)
    assert (nothing.bytes_per_second, nothing.cpu_per_gib, nothing.cpu_per_blob) == (0.0, None, None)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0000351, "35.1 us"),
        (0.00099999, "1 ms"),
        (0.0021, "2.1 ms"),
        (0.9999, "1 s"),
        (1.234, "1.23 s"),
        (4000.0, "4000 s"),
    ],
)
def test_short_times_keep_a_unit_that_fits(seconds: float, said: str) -> None:
    """No exponent and no row of zeros."""
    assert short_time(seconds) == said
