"""Put a folder by hand: the bulk loop that programs with the vendor's SDK have, written with `Ds3Client`.

python examples/bulk_loop.py FOLDER BUCKET

`PutRun` (see put_and_get.py) does all of this many blobs at a time and survives whatever happens. The loop is for those
who want to see what a bulk job is, or have one to rewrite. Reads DS3_ENDPOINT, DS3_ACCESS_KEY and DS3_SECRET_KEY.
"""

import sys
import time
from datetime import timedelta
from pathlib import Path

from ds3tool import BytesBody, Ds3Client, ObjectToPut
from ds3tool.protocol.checksums import digest_of, to_base64
from ds3tool.protocol.model import Blob


def main(folder: str, bucket: str) -> int:
    """Put every file of `folder` into `bucket`, in one job."""
    paths = {path.relative_to(folder).as_posix(): path for path in Path(folder).rglob("*") if path.is_file()}
    with Ds3Client.from_environment() as client:
        if not client.bucket_exists(bucket):
            client.create_bucket(bucket)
        # The kind of digest that the appliance keeps; it refuses a blob whose bytes are not those that we digested.
        kind = client.get_data_policy(client.get_bucket(bucket).data_policy_id).checksum_type

        def put(blob: Blob) -> None:
            with paths[blob.key].open("rb") as file:
                file.seek(blob.offset)
                data = file.read(blob.length)
            digest = kind, to_base64(digest_of(kind, data))
            client.put_object(bucket, blob.key, BytesBody(data), job_id=job_id, offset=blob.offset, checksum=digest)

        # Declaring everything at once lets the appliance choose the tapes before the first byte moves.
        created = client.create_put_job(bucket, [ObjectToPut(key, path.stat().st_size) for key, path in paths.items()])
        job_id, left = created.job.id, {chunk.id for chunk in created.chunks}
        while left:
            ready = client.get_ready_chunks(job_id)
            # A chunk is offered until all of its blobs have come, so those that we have sent may be among them.
            new = [chunk for chunk in ready.chunks if chunk.id in left]
            for chunk in new:
                for blob in chunk.blobs:
                    if not blob.in_cache:
                        put(blob)
                left.remove(chunk.id)
            if not new:
                # The cache is full for now. The appliance says when to ask again, in the header Retry-After.
                time.sleep((ready.retry_after or timedelta(seconds=60)).total_seconds())
        print(f"job {job_id}: {len(paths)} objects, {created.job.original_bytes} bytes")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
