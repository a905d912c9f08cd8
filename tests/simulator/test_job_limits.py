"""What keeps a job from beginning, what its data policy makes of it, and what keeps it from being given up."""

from __future__ import annotations

import pytest

from ds3tool.simulator.clock import ManualClock
from tests.simulator.conftest import Bench, Build
from tests.simulator.wire import Answer


def _backend(bench: Bench, parameters: str) -> None:
    answer = bench.wire.ask("PUT", f"/_rest_/data_path_backend?{parameters}")
    assert answer.status == 200, answer


def _policy(bench: Bench, parameters: str) -> None:
    policy = bench.appliance.machine.beans.all("DataPolicy")[0]["Id"]
    answer = bench.wire.ask("PUT", f"/_rest_/data_policy/{policy}?{parameters}")
    assert answer.status == 200, answer


def _put(bench: Bench, parameters: str = "", **sizes: int) -> Answer:
    return bench.wire.start_put("b", sizes or {"a": 10}, parameters)


def _active(bench: Bench, job: str) -> dict[str, str | None]:
    return {each.tag: each.text for each in bench.wire.ask("GET", f"/_rest_/active_job/{job}").xml}


# New jobs.


def test_no_job_begins_while_none_may(bench: Bench) -> None:
    """503 for puts with and without a job and for gets; what is in the cache is still got without one."""
    bench.wire.put_all("b", {"there": b"data"})
    bench.until_persisted()
    _backend(bench, "allow_new_job_requests=false")
    refused = [_put(bench), bench.wire.start_get("b", ["there"]), bench.wire.ask("PUT", "/b/naked", b"x")]
    assert [(answer.status, answer.headers["retry-after"]) for answer in refused] == [(503, "0")] * 3
    assert bench.wire.ask("GET", "/b/there").body == b"data"
    assert bench.wire.ask("HEAD", "/b/naked").status == 404
    _backend(bench, "allow_new_job_requests=true")
    assert _put(bench).status == 200


def test_so_many_jobs_are_in_progress_and_no_more(bench: Bench) -> None:
    """503 with the backend's Retry-After beyond MaxNumberOfConcurrentJobs, until one has ended."""
    _backend(bench, "max_number_of_concurrent_jobs=1&cache_available_retry_after_in_seconds=17")
    job = _put(bench, a=10).xml.attrib["JobId"]
    refused = _put(bench, c=10)
    assert (refused.status, refused.headers["retry-after"]) == (503, "17")
    assert bench.wire.ready(job).headers["retry-after"] == "17"
    bench.wire.ask("DELETE", f"/_rest_/job/{job}?force")
    assert _put(bench, c=10).status == 200


@pytest.mark.parametrize("priority", ["CRITICAL", "BACKGROUND", "SOON"])
def test_nobody_asks_for_priorities_of_the_appliance(bench: Bench, priority: str) -> None:
    """400, when a job begins and when it is changed."""
    assert _put(bench, f"&priority={priority}").status == 400
    job = _put(bench).xml.attrib["JobId"]
    assert bench.wire.ask("PUT", f"/_rest_/job/{job}?priority={priority}").status == 400
    assert bench.wire.ask("PUT", f"/_rest_/job/{job}?priority=low").xml.get("Priority") == "LOW"


# Where a put would go.


def _verify_safe(bench: Bench) -> int:
    return bench.wire.ask("PUT", "/_rest_/bucket/b?operation=verify_safe_to_start_bulk_put").status


def test_a_put_that_would_find_no_media_is_refused(build: Build) -> None:
    """400 by itself and when asked; taken when forced, by the request or by the data policy."""
    bench = build(tapes=0)
    assert (_verify_safe(bench), _put(bench).status) == (400, 400)
    assert _put(bench, "&force", c=10).status == 200
    _policy(bench, "always_force_put_job_creation=true")
    assert _put(bench, d=10).status == 200
    assert _verify_safe(bench) == 400


def test_a_put_is_safe_while_a_tape_can_be_written(build: Build) -> None:
    """200 with one writable tape, 400 when that has been ejected."""
    bench = build(tapes=1)
    assert (_verify_safe(bench), _put(bench).status) == (200, 200)
    tape = next(iter(bench.appliance.machine.library.tapes.values()))
    assert bench.wire.ask("PUT", f"/_rest_/tape/{tape.bar_code}?operation=eject").status == 200
    assert _verify_safe(bench) == 400


def test_a_copy_for_a_cloud_needs_its_licence_and_a_target(bench: Bench) -> None:
    """402 while the licence is missing, 400 while the target is not there or offline, 200 with both."""
    machine = bench.appliance.machine
    policy = machine.beans.all("DataPolicy")[0]["Id"]
    target, rule = machine.new_id(), machine.new_id()
    machine.beans.add("S3DataReplicationRule", rule, {"DataPolicyId": policy, "TargetId": target, "Type": "PERMANENT"})
    assert (_verify_safe(bench), _put(bench).status) == (402, 402)
    machine.beans.add("FeatureKey", machine.new_id(), {"Key": "AWS_S3_CLOUD_OUT"})
    assert _verify_safe(bench) == 400
    machine.beans.add("S3Target", target, {"Name": "cloud", "State": "OFFLINE", "Quiesced": "NO"})
    assert _verify_safe(bench) == 400
    machine.beans.update("S3Target", target, {"State": "ONLINE"})
    assert (_verify_safe(bench), _put(bench).status) == (200, 200)


# What a data policy says.


def test_a_data_policy_decides_what_a_request_leaves_open(bench: Bench) -> None:
    """Its priority, verification and spanning are the job's; the request's word counts, but not against spanning."""
    _policy(
        bench,
        "always_minimize_spanning_across_media=true&default_verify_after_write=true&default_put_job_priority=LOW",
    )
    words = ("MinimizeSpanningAcrossMedia", "VerifyAfterWrite", "Priority")
    shown = _active(bench, _put(bench, a=10).xml.attrib["JobId"])
    assert [shown[word] for word in words] == ["true", "true", "LOW"]
    own = "&minimize_spanning_across_media=false&verify_after_write=false&priority=HIGH"
    shown = _active(bench, _put(bench, own, c=10).xml.attrib["JobId"])
    assert [shown[word] for word in words] == ["true", "false", "HIGH"]


def test_the_size_of_blobs_is_the_requests_then_the_policys(build: Build) -> None:
    """And without blobbing an object has one blob, or is refused when that is larger than the cache takes."""
    bench = build(blob_size=1000, chunk_size=5000, cache_size=10_000)
    _policy(bench, "default_blob_size=400")

    def lengths(answer: Answer) -> list[int]:
        return sorted(int(each.attrib["Length"]) for each in answer.xml.iter("Object"))

    assert lengths(_put(bench, a=900)) == [100, 400, 400]
    assert lengths(_put(bench, "&max_upload_size=500", c=900)) == [400, 500]
    _policy(bench, "blobbing_enabled=false")
    assert lengths(_put(bench, d=4900)) == [4900]
    assert _put(bench, e=9000).status == 400


def test_a_policy_that_demands_digests_refuses_puts_without(bench: Bench) -> None:
    """400 with and without a job, until the digest is there."""
    _policy(bench, "end_to_end_crc_required=true")
    job = _put(bench, a=4).xml.attrib["JobId"]
    digest = {"Content_MD5": "jXd/OF09/siBXSD3SWAm3A=="}
    assert bench.wire.put_blob("b", "a", job, 0, b"data").status == 400
    assert bench.wire.put_blob("b", "a", job, 0, b"data", **digest).status == 200
    assert bench.wire.ask("PUT", "/b/naked", b"data").status == 400
    assert bench.wire.ask("PUT", "/b/naked", b"data", {"Content-MD5": digest["Content_MD5"]}).status == 200


# Given up, or not.


def test_a_put_that_is_given_up_after_a_day_keeps_what_came(build: Build) -> None:
    """Its complete objects go to tape and it is COMPLETED; that it was truncated, and why, is told meanwhile."""
    clock = ManualClock()
    bench = build(clock, persist_delay=3600.0)
    job = _put(bench, came=10, never=10).xml.attrib["JobId"]
    assert bench.wire.put_blob("b", "came", job, 0, b"0123456789").status == 200
    active = next(iter(bench.appliance.machine.jobs.active.values()))
    clock.advance(25 * 3600.0)
    bench.until(lambda: active.truncated)
    assert bench.wire.ask("HEAD", "/b/never").status == 404
    shown = _active(bench, job)
    assert [shown[each] for each in ("Truncated", "TruncatedDueToTimeout", "OriginalSizeInBytes")] == [
        "true",
        "true",
        "10",
    ]
    clock.advance(3601.0)
    bench.until_persisted()
    assert bench.wire.job(job).get("Status") == "COMPLETED"
    assert bench.wire.ask("GET", "/b/came").body == b"0123456789"


def test_protected_and_undying_jobs_are_never_given_up(build: Build) -> None:
    """No idle time ends a job that is protected or may not be cleaned up."""
    clock = ManualClock()
    bench = build(clock)
    kept = [
        _put(bench, "&protected=true", a=10).xml.attrib["JobId"],
        _put(bench, "&dead_job_cleanup_allowed=false", c=10).xml.attrib["JobId"],
    ]
    _put(bench, d=10)
    active = bench.appliance.machine.jobs.active
    clock.advance(72 * 3600.0)
    bench.until(lambda: {job.id for job in active.values()} == set(kept))
    assert bench.wire.ask("PUT", f"/_rest_/job/{kept[0]}?protected=false").status == 200
    clock.advance(72 * 3600.0)
    bench.until(lambda: {job.id for job in active.values()} == {kept[1]})


def test_ending_all_jobs_leaves_the_protected(bench: Bench) -> None:
    """204, and the protected ones go on."""
    kept = _put(bench, "&protected=true", a=10).xml.attrib["JobId"]
    gone = _put(bench, c=10).xml.attrib["JobId"]
    for query in ("", "?force"):
        assert bench.wire.ask("DELETE", f"/_rest_/job{query}").status == 204
        assert bench.wire.ask("DELETE", f"/_rest_/active_job{query}").status == 204
    assert [bench.wire.job(job).get("Status") for job in (kept, gone)] == ["IN_PROGRESS", "CANCELED"]


def test_a_protected_bucket_is_not_deleted(bench: Bench) -> None:
    """409 in every way, until it is protected no more."""
    assert bench.wire.ask("PUT", "/_rest_/bucket/b?protected=true").status == 200
    for target in ("/b", "/_rest_/bucket/b", "/_rest_/bucket/b?force"):
        assert bench.wire.ask("DELETE", target).status == 409
    bench.wire.ask("PUT", "/_rest_/bucket/b?protected=false")
    assert bench.wire.ask("DELETE", "/_rest_/bucket/b").status == 204


# Creation failures.


def test_a_failed_creation_is_on_record_until_it_is_deleted(bench: Bench) -> None:
    """Bar codes, user and message of a get whose tape is away; a second deletion finds nothing."""
    bench.wire.put_all("b", {"a": b"x"})
    bench.until_persisted()
    bench.reclaim()
    library = bench.appliance.machine.library
    tape = next(tape for tape in library.tapes.values() if tape.written)
    bench.wire.ask("PUT", f"/_rest_/tape/{tape.bar_code}?operation=eject")
    bench.until(lambda: not tape.usable)
    assert bench.wire.start_get("b", ["a"]).status == 409
    record = bench.wire.ask("GET", "/_rest_/job_creation_failed?user_name=Administrator").xml.find("JobCreationFailed")
    assert record is not None
    assert [record.findtext(each) for each in ("TapeBarCodes", "Type")] == [tape.bar_code, "TAPES_MUST_BE_ONLINED"]
    target = f"/_rest_/job_creation_failed/{record.findtext('Id')}"
    assert [bench.wire.ask("DELETE", target).status for _ in range(2)] == [204, 404]
    assert bench.wire.ask("GET", "/_rest_/job_creation_failed").headers["total-result-count"] == "0"
