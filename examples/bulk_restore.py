"""Restore a list of keys by one bulk job: say which tapes it takes, get what can be had, name what cannot.

python examples/bulk_restore.py BUCKET LIST TARGET

LIST is a file with one key a line. The exit code is that of `ds3tool get`: 0 when all of it is there, 3 when some of it
is missing, 4 when there is no such bucket, 8 when somebody must load tapes first, and so on. Reads DS3_ENDPOINT,
DS3_ACCESS_KEY and DS3_SECRET_KEY.
"""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ds3tool import Ds3Client, Ds3Error, Failure, GetRun, LocalSink, MediaNeeded, NotFoundError, RunSettings, Wanted


def wanted_of(client: Ds3Client, bucket: str, keys: list[str]) -> Iterator[Wanted | Failure]:
    """Look each key up: a get has to know sizes before it begins, and a key that is not there fails by name."""
    client.get_bucket(bucket)  # else, without the bucket, every single key would be told as missing
    for key in keys:
        try:
            yield Wanted(key, client.head_object(bucket, key).size)
        except NotFoundError as error:
            yield Failure(key, error)


def main(bucket: str, listed: str, target: str) -> int:
    """Restore the keys that stand in the file `listed` from `bucket` into the folder `target`; return an exit code."""
    keys = Path(listed).read_text(encoding="utf-8").splitlines()
    with Ds3Client.from_environment() as client, closing(LocalSink(target)) as sink:
        wanted = list(wanted_of(client, bucket, keys))

        def run() -> GetRun:
            return GetRun(client, sink, bucket, wanted, name_of=lambda key: key, settings=RunSettings())

        # Where the bytes are is known before a tape is mounted.
        needed = MediaNeeded()
        for plan in run().plans():
            needed.add(client, plan)
        for sentence in needed.sentences():
            print(sentence)

        # All keys in one job: the appliance reads each tape once, in the order in which the bytes lie on it.
        result = run().run()
    for failure in result.failures:
        print(f"{failure.key}: {failure.error}", file=sys.stderr)
    if result.stopped is not None:
        print(result.stopped, file=sys.stderr)
    print(f"restored {result.objects} of {len(keys)} objects; {result.skipped} were there already")
    return result.exit_code


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        sys.exit(main(*sys.argv[1:]))
    except Ds3Error as error:  # nothing could be begun
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
