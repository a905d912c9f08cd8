"""`ds3tool sim`: an appliance that others can find, use and stop."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.cli import appliances
from tests.cli.runner import Run, run

_EXPORTS = re.compile(
    r"export DS3_ENDPOINT=(http://127\.0\.0\.1:(\d+))\nexport DS3_ACCESS_KEY=(\S+)\nexport DS3_SECRET_KEY=(\S+)\n"
)


class Host:
    """One user's state folder, and the appliances started in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sim(self, *arguments: str) -> Run:
        return run("sim", *arguments, "--state-dir", str(self.folder / "state"))

    def try_start(self, *arguments: str) -> Run:
        """Run `sim start` as its own process, which does not outlive what it started."""
        line = [sys.executable, "-m", "ds3tool", "sim", "start", "--state-dir", str(self.folder / "state"), *arguments]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        return Run(("sim", "start", *arguments), done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> tuple[str, int, str, str]:
        """Start one in the background; return its endpoint, port and keys."""
        match = _EXPORTS.fullmatch(self.try_start(*arguments).expect().stdout)
        assert match is not None
        return match[1], int(match[2]), match[3], match[4]

    def serve(self, *arguments: str) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "ds3tool", "sim", "serve", "--state-dir", str(self.folder / "state"), *arguments]
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    for appliance in appliances.running(tmp_path / "state"):
        appliances.stop(appliance)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_prints_the_three_lines_and_ends_cleanly_on_a_signal(host: Host, number: signal.Signals) -> None:
    """It says where it is once it listens, and a signal ends it with 0, leaving nothing behind."""
    process = host.serve()
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        told = "".join(process.stdout.readline() for _ in range(3))
        assert _EXPORTS.fullmatch(told)
        (appliance,) = appliances.running(host.folder / "state")
        assert (appliance.pid, Path(appliance.directory).is_dir()) == (process.pid, True)
        process.send_signal(number)
        assert process.stdout.read() == ""
        (warning,) = process.stderr.read().splitlines()
    assert "NOT FOR PRODUCTION" in warning
    assert process.wait() == 0
    assert not Path(appliance.directory).exists()
    assert appliances.running(host.folder / "state") == []


def test_an_appliance_in_the_background_is_found_used_and_stopped(host: Host) -> None:
    """start returns when it listens; env prints the same lines; its keys are accepted; stop ends it."""
    endpoint, port, access_key, secret_key = host.start()
    assert host.sim("env").expect().stdout == host.sim("env", "--port", str(port)).expect().stdout
    environ = {"DS3_ENDPOINT": endpoint, "DS3_ACCESS_KEY": access_key, "DS3_SECRET_KEY": secret_key}
    assert run("ls", "-o", "json", environ=environ).expect().json == []
    (status,) = host.sim("status", "-o", "json").expect().json
    assert (status["endpoint"], status["port"]) == (endpoint, port)
    assert secret_key not in host.sim("status", "-o", "json").stdout
    host.sim("stop").expect()
    run("ls", "--max-retry-time", "0", environ=environ).expect(7)
    host.sim("stop").expect(4)
    host.sim("env").expect(4)
    host.sim("status").expect(4)


def test_the_one_started_last_is_meant_unless_another_is_named(host: Host) -> None:
    """--dir and --port choose; without them the youngest counts."""
    first, second = host.folder / "first", host.folder / "second"
    _, port, _, _ = host.start("--dir", str(first))
    endpoint, _, _, _ = host.start("--dir", str(second))
    assert host.sim("env", "-o", "json").json["DS3_ENDPOINT"] == endpoint
    assert host.sim("env", "-o", "json", "--dir", str(first)).json["DS3_ENDPOINT"].endswith(f":{port}")
    assert len(host.sim("status", "-o", "json").json) == 2
    host.sim("stop", "--port", str(port)).expect()
    assert [row["directory"] for row in host.sim("status", "-o", "json").json] == [str(second)]
    host.sim("env", "--dir", str(first)).expect(4)


def test_a_directory_is_continued_with_its_keys_and_buckets(host: Host) -> None:
    """What was there before a stop is there after the next start."""
    directory = str(host.folder / "kept")
    endpoint, _, access_key, secret_key = host.start("--dir", directory)
    environ = {"DS3_ENDPOINT": endpoint, "DS3_ACCESS_KEY": access_key, "DS3_SECRET_KEY": secret_key}
    run("mb", "ds3://kept", environ=environ).expect()
    host.sim("stop").expect()
    endpoint, _, *keys = host.start("--dir", directory)
    assert keys == [access_key, secret_key]
    listed = run("ls", "-o", "json", environ=environ | {"DS3_ENDPOINT": endpoint}).expect().json
    assert [bucket["name"] for bucket in listed] == ["kept"]


def test_the_second_appliance_in_a_directory_is_refused(host: Host) -> None:
    """One directory serves one appliance; whoever comes second is told, and the first goes on."""
    directory = str(host.folder / "kept")
    host.start("--dir", directory)
    told = host.try_start("--dir", directory)
    assert told.exit_code != 0
    assert "another embedded appliance" in told.stderr
    host.sim("env").expect()


def test_an_appliance_that_was_killed_is_forgotten(host: Host) -> None:
    """A process that died leaves a record behind; nobody is killed in its name."""
    process = host.serve("--dir", str(host.folder / "kept"))
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        process.stdout.readline()
        process.kill()
        process.wait()
    assert (host.folder / "kept" / appliances.RECORD_NAME).exists()
    host.sim("stop").expect(4)
    host.sim("stop", "--dir", str(host.folder / "kept")).expect(4)
    host.start("--dir", str(host.folder / "kept"))


def test_an_appliance_continued_after_a_kill_is_listed_once(host: Host) -> None:
    """What the killed process left behind does not stand for the one that continues its directory."""
    for _ in range(2):
        process = host.serve("--dir", str(host.folder / "kept"))
        assert process.stdout is not None
        assert process.stderr is not None
        with process.stdout, process.stderr:
            process.stdout.readline()
            process.kill()
            process.wait()
    _, port, _, _ = host.start("--dir", str(host.folder / "kept"))
    assert [each["endpoint"].rpartition(":")[2] for each in host.sim("status", "-o", "json").json] == [str(port)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--blob-size", "large"], "not a size"),
        (["--drives", "0"], "drives"),
        (["--persist-delay", "soon"], "not a duration"),
        (["--port", "99999"], "--port"),
    ],
)
def test_what_cannot_be_built_is_a_usage_error(host: Host, arguments: list[str], named: str) -> None:
    """In the foreground and in the background the reason is told."""
    assert named in host.sim("serve", *arguments).expect(2).stderr
    assert named in host.try_start(*arguments).expect(2).stderr


def test_an_address_in_use_is_told(host: Host) -> None:
    """A port that another holds is named."""
    _, port, _, _ = host.start()
    told = host.try_start("--port", str(port))
    assert told.exit_code != 0
    assert str(port) in told.stderr


def test_the_given_keys_are_the_appliances_keys(host: Host) -> None:
    """--access-key and --secret-key decide; --seed makes the rest repeatable."""
    _, _, access_key, secret_key = host.start("--access-key", "me", "--secret-key", "mine")
    assert (access_key, secret_key) == ("me", "mine")
    first = host.start("--seed", "7")
    assert first[2:] == host.start("--seed", "7")[2:]


def test_a_record_of_somebody_else_is_not_trusted(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gets a process of ours ended by writing its number into a file."""
    directory = host.folder / "kept"
    host.start("--dir", str(directory))
    real = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: real + 1)
    assert appliances.in_directory(directory) is None
    monkeypatch.undo()
    assert appliances.in_directory(directory) is not None


def test_an_awkward_appliance_is_as_awkward_as_it_was_told(host: Host) -> None:
    """--quirk reaches the appliance in the background; a release stands for its quirks; another name is refused."""
    endpoint, _, access_key, secret_key = host.start("--quirk", "release-3.4", "--quirk", "management-port")
    environ = {"DS3_ENDPOINT": endpoint, "DS3_ACCESS_KEY": access_key, "DS3_SECRET_KEY": secret_key}
    told = run("ls", environ=environ)
    assert told.exit_code != 0
    assert "management port" in told.stderr
    assert "no quirk 'shy'" in host.try_start("--quirk", "shy").expect(2).stderr
    assert "release-1.2" in host.sim("quirks").expect().stdout


def test_the_data_policy_can_be_chosen(host: Host) -> None:
    """Versions, digests and copies reach the appliance in the background, and its buckets have them."""
    policy = ("--versioning", "keep-multiple-versions", "--checksum-type", "crc32c", "--copies", "2")
    endpoint, _, access_key, secret_key = host.start(*policy)
    keys = {"DS3_ENDPOINT": endpoint, "DS3_ACCESS_KEY": access_key, "DS3_SECRET_KEY": secret_key}
    run("mb", "ds3://kept", environ=keys).expect()
    described = json.loads(run("stat", "ds3://kept", "-o", "json", environ=keys).expect().stdout)
    assert described["versioning"] == "KEEP_MULTIPLE_VERSIONS"
    assert described["checksum_type"] == "CRC_32C"
    assert described["copies"] == 2
    assert host.try_start("--copies", "3").exit_code == 2


def test_a_size_that_is_none_is_refused_with_the_way_out(host: Host) -> None:
    """What the appliance's own process says of it reaches the terminal whole."""
    assert "hint: write it like" in host.try_start("--blob-size", "much").expect(2).stderr


def test_what_goes_wrong_is_told_at_the_start_and_changed_later(host: Host) -> None:
    """--fault, --seed and --control-port reach the appliance in the background; `sim fault` changes what goes wrong."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint, _, access_key, secret_key = host.start(
        *("--fault", "busy-503-no-header=1,slow=0.5", "--fault", "stall=1:0", "--seed", "11"),
        *("--control-port", str(port)),
    )
    keys = {"DS3_ENDPOINT": endpoint, "DS3_ACCESS_KEY": access_key, "DS3_SECRET_KEY": secret_key}
    run("ls", "--max-retry-time", "0", environ=keys).expect(7)
    shown = {row["name"]: row for row in host.sim("fault", "-o", "json").expect().json}
    assert shown["busy-503-no-header"]["struck"] == 1
    assert (shown["slow"]["rate"], shown["stall"]["left"], shown["slow"]["seed"]) == (0.5, 0, 11)
    assert [row["control_port"] for row in host.sim("status", "-o", "json").json] == [port]
    host.sim("fault", "--clear").expect()
    assert run("ls", "-o", "json", environ=keys).expect().json == []
    assert "no fault 'shy'" in host.try_start("--fault", "shy=1").expect(2).stderr
    assert "controls cannot listen" in host.try_start("--control-port", str(port)).expect(2).stderr


def test_it_says_what_it_is_not_and_who_can_reach_it(host: Host) -> None:
    """Never on stdout, which eval takes; that others can reach it is said even where silence was asked for."""
    told = host.try_start("--host", "0.0.0.0").expect()
    assert told.stdout.count("\n") == 3
    assert "NOT FOR PRODUCTION" in told.stderr
    assert "it listens at 0.0.0.0, where other hosts can reach it" in told.stderr
    quiet = host.try_start("--quiet", "--host", "127.0.0.2").expect()
    assert (quiet.stdout.count("\n"), quiet.stderr) == (3, "")


def test_a_library_is_built_as_it_was_asked_for(host: Host) -> None:
    """Type and size of its tapes, slots, drives that take their time, and a clock of its own, in the background too."""
    host.start(
        *("--tape-type", "lto9", "--tape-capacity", "5MB", "--tapes", "2", "--drives", "1"),
        *("--slots", "7", "--entry-exit-slots", "3", "--timed", "--pace", "0"),
    )
    (status,) = host.sim("status", "-o", "json").expect().json
    assert [(drive["type"], drive["state"]) for drive in status["drives"]] == [("LTO9", "NORMAL")]
    assert status["clock"]["pace"] == 0
    (one, _) = host.sim("tape", "-o", "json").expect().json
    assert (one["bar_code"], one["type"], one["capacity"]) == ("SIM001L9", "LTO9", 5_000_000)
    assert "5 of 7 storage slots are free, 3 of 3 entry/exit slots" in host.sim("tape").expect().stderr
    assert "no tapes of type 'LTO4'" in host.try_start("--tape-type", "LTO4").expect(2).stderr
