"""Say which tapes hold a bucket's objects, one line a tape.

python examples/which_tapes.py BUCKET

Reads DS3_ENDPOINT, DS3_ACCESS_KEY and DS3_SECRET_KEY.
"""

import sys
from collections import Counter

from ds3tool import Ds3Client
from ds3tool.protocol.model import ObjectToGet


def main(bucket: str) -> int:
    """Print each tape's bar code, its state, and how many blobs of the bucket it holds."""
    held: Counter[tuple[str, str]] = Counter()
    with Ds3Client.from_environment() as client:
        for page in client.listing_pages(bucket):
            wanted = [ObjectToGet(listed.key) for listed in page.objects]
            for placed in client.get_blob_placement(bucket, wanted):
                held.update((tape.bar_code, tape.state) for tape in placed.placement.tapes)
    for (bar_code, state), blobs in sorted(held.items()):
        print(f"{bar_code} {state}: {blobs} blobs")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
