"""Archive a folder and restore it, with the library.

python examples/put_and_get.py FOLDER BUCKET TARGET

Reads DS3_ENDPOINT, DS3_ACCESS_KEY and DS3_SECRET_KEY.
"""

import sys

from ds3tool import Ds3Client, GetRun, LocalSink, LocalSource, PutRun, RunSettings


def main(folder: str, bucket: str, target: str) -> int:
    """Put `folder` into `bucket`, get all of it back into `target`; return the worse exit code."""
    with Ds3Client.from_environment() as client:
        if not client.bucket_exists(bucket):
            client.create_bucket(bucket)
        put = PutRun(client, LocalSource(folder, prefix=""), bucket, settings=RunSettings()).run()
        print(f"put {put.objects} objects, {put.bytes} bytes, in {put.seconds:.1f} s")
        sink = LocalSink(target)
        try:
            objects = client.list_objects(bucket)
            get = GetRun(client, sink, bucket, objects, name_of=lambda key: key, settings=RunSettings()).run()
        finally:
            sink.close()
        print(f"got {get.objects} objects, {get.bytes} bytes, in {get.seconds:.1f} s")
        for failure in (*put.failures, *get.failures):
            print(f"{failure.key}: {failure.error}", file=sys.stderr)
    return put.exit_code or get.exit_code


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
