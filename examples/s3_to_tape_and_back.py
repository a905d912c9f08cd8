"""Archive a prefix of S3 to tape, and restore it to another place of S3, with nothing on a disk in between.

python examples/s3_to_tape_and_back.py s3://FROM/PREFIX/ BUCKET s3://TO/PREFIX/

S3 is reached as every program with boto3 reaches it: by environment, profiles, roles, AWS_ENDPOINT_URL. Reads
DS3_ENDPOINT, DS3_ACCESS_KEY and DS3_SECRET_KEY.
"""

import sys
from contextlib import closing

from ds3tool import AwsSettings, Ds3Client, GetRun, PutRun, RealClock, RunSettings, S3Sink, S3Source
from ds3tool.addresses import parse_s3
from ds3tool.jobs.completion import wait_for_job


def main(origin: str, bucket: str, target: str) -> int:
    """Put what is below `origin` into `bucket`, wait for the tapes, get it back below `target`; return an exit code."""
    here, there, aws = parse_s3(origin), parse_s3(target), AwsSettings()
    with Ds3Client.from_environment() as client:
        if not client.bucket_exists(bucket):
            client.create_bucket(bucket)
        # The bytes stream from S3 into the blobs of bulk jobs; content types, tags and metadata go along.
        source = S3Source(aws, here.bucket, base=here.key, prefix=here.key)
        put = PutRun(client, source, bucket, settings=RunSettings()).run()
        print(f"put {put.objects} objects, {put.bytes} bytes, in {put.seconds:.1f} s")

        # Accepted is not yet on tape: that is a fact of its own.
        for done in put.jobs:
            wait_for_job(client, done.job.id, in_cache=False, interval_seconds=5, clock=RealClock())

        with closing(S3Sink(aws, there.bucket, there.key)) as sink:
            objects = client.list_objects(bucket, prefix=here.key)
            # Each key below the one prefix goes below the other.
            get = GetRun(
                client, sink, bucket, objects, name_of=lambda key: key.removeprefix(here.key), settings=RunSettings()
            )
            got = get.run()
        print(f"got {got.objects} objects, {got.bytes} bytes, in {got.seconds:.1f} s")
    for failure in (*put.failures, *got.failures):
        print(f"{failure.key}: {failure.error}", file=sys.stderr)
    for stopped in (put.stopped, got.stopped):
        if stopped is not None:
            print(stopped, file=sys.stderr)
    return put.exit_code or got.exit_code


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
