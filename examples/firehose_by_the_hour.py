"""Send a CSV file into a Firehose stream, and archive what Firehose has delivered to S3: the hours that are closed.

python examples/firehose_by_the_hour.py FILE.csv STREAM s3://BUCKET/PREFIX/ ARCHIVE [MARGIN]

To be run every hour. What was archived before is skipped, what came late follows, and an hour to which something may
still be delivered is left for a later run; MARGIN is how many minutes that may take, 120 unless given. AWS is reached
as every program with boto3 reaches it. Reads DS3_ENDPOINT, DS3_ACCESS_KEY and DS3_SECRET_KEY.
"""

import sys
from datetime import timedelta

from ds3tool import AwsSettings, Ds3Client, PutRun, RunSettings
from ds3tool.addresses import parse_s3
from ds3tool.firehose.closed import Closing
from ds3tool.firehose.rows import rows
from ds3tool.firehose.sending import Outgoing, Sender
from ds3tool.sources.firehose import FirehoseSource


def send(path: str, stream: str) -> int:
    """Put the rows of a CSV file into a delivery stream; return how many it did not take, each of which is named."""
    sender = Sender(AwsSettings().client("firehose"), stream)
    with open(path, "rb") as file:
        lines = rows(file)
        next(lines)  # the columns' names are no record
        # Firehose runs records together as they are, so each has to end its line.
        sender.send(Outgoing(f"line {row.line}", row.data + b"\n") for row in lines)
    for failure in sender.sent.failed:
        print(f"{path}, {failure.name}: {failure.why}", file=sys.stderr)
    print(f"sent {sender.sent.records} records, {sender.sent.bytes} bytes")
    return len(sender.sent.failed)


def main(path: str, stream: str, delivered: str, archive: str, margin: str = "120") -> int:
    """Send `path`, then put the closed hours below `delivered` into the bucket `archive`; return an exit code."""
    lost = send(path, stream)
    here = parse_s3(delivered)
    closing = Closing(margin=timedelta(minutes=int(margin)))
    with Ds3Client.from_environment() as client:
        if not client.bucket_exists(archive):
            client.create_bucket(archive)
        source = FirehoseSource(AwsSettings(), here.bucket, base=here.key, prefix=f"{stream}/", closing=closing)
        result = PutRun(client, source, archive, settings=RunSettings()).run()
    for failure in result.failures:
        print(f"{failure.name}: {failure.error}", file=sys.stderr)
    for note in result.notes:
        print(note, file=sys.stderr)
    print(f"put {result.objects} objects, {result.bytes} bytes; {result.skipped} were there already")
    return result.exit_code or (3 if lost else 0)


if __name__ == "__main__":
    if len(sys.argv) not in {5, 6}:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
