"""`python -m tests.soak --tool 200 --appliance 50`: kills, resumes, compares, and prints what it saw."""

from __future__ import annotations

import argparse
import collections
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.soak.kills import (
    SLOW,
    Host,
    MortalAppliance,
    WatchedAppliance,
    kill_the_appliance,
    kill_the_tool,
    make_files,
    settings,
)
from tests.soak.victim import OF_GET, POINTS


def main() -> int:
    """Run the campaign; 1 when anything was lost, damaged, sent twice or left behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tool", type=int, default=200, help="kills of the tool")
    parser.add_argument("--appliance", type=int, default=50, help="kills of the appliance")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="ds3tool-soak-"))
    chance = random.Random(asked.seed)
    failures: list[str] = []
    seen: collections.Counter[str] = collections.Counter()
    tree = folder / "tree"
    make_files(tree, seed=asked.seed)
    with WatchedAppliance(settings()) as appliance:
        for number in range(asked.tool):
            here = folder / f"tool-{number}"
            here.mkdir()
            host = Host(appliance.endpoint, appliance.access_key, appliance.secret_key, here)
            point = list(POINTS)[number // 2 % len(POINTS)]
            verb = "get" if point in OF_GET else chance.choice(("put", "get"))
            timed = number % 2 == 0
            # Half of each kind; what is told in batches comes often enough in the slow ones only.
            slow = point.startswith("moved") or number // 2 // len(POINTS) % 2 == 0
            name = f"{verb} {'at a random moment' if timed else point}"
            try:
                outcome = kill_the_tool(
                    appliance,
                    host,
                    verb,
                    tree,
                    point="none" if timed else point,
                    count=_count(point, chance),
                    after=chance.uniform(0.0, 1.2 if slow else 0.4) if timed else None,
                    options=SLOW if slow else (),
                )
            except AssertionError as error:
                failures.append(f"{number} {name}: {error}")
                print(f"FAILED {failures[-1]}", flush=True)
                continue
            seen[f"{name}: {'struck' if outcome.struck else 'was through before'}"] += 1
            seen["resumes"] += outcome.resumes
            seen["blobs recorded before the kill"] += outcome.recorded
            shutil.rmtree(here)
    mortal = MortalAppliance(folder)
    mortal.start()
    try:
        for number in range(asked.appliance):
            here = folder / f"appliance-{number}"
            here.mkdir()
            verb = chance.choice(("put", "get"))
            try:
                outcome = kill_the_appliance(
                    mortal, mortal.host(here), verb, tree, after=chance.uniform(0.0, 1.2), options=SLOW
                )
            except AssertionError as error:
                failures.append(f"appliance {number} {verb}: {error}")
                print(f"FAILED {failures[-1]}", flush=True)
                mortal.kill()
                mortal.start()
                continue
            seen[f"{verb} while the appliance dies: {'broken off' if outcome.struck else 'was through before'}"] += 1
            seen["resumes"] += outcome.resumes
            shutil.rmtree(here)
    finally:
        mortal.kill()
    for what, count in sorted(seen.items()):
        print(f"{count:6} {what}")
    print(f"{len(failures)} of {asked.tool + asked.appliance} failed; seed {asked.seed}")
    if not failures:
        shutil.rmtree(folder)
    return 1 if failures else 0


def _count(point: str, chance: random.Random) -> int:
    """Return at which passing of a point to die: few are passed more than once or twice in a run of one job."""
    often = {"body-sent": 30, "moved-unrecorded": 3, "moved-recorded": 3, "before-rename": 30, "after-rename": 30}
    return chance.randint(1, often.get(point, 1))


if __name__ == "__main__":
    sys.exit(main())
