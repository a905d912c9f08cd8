"""List a bucket page by page, and go on later where an earlier listing has ended.

python examples/paged_listing.py BUCKET [PREFIX [AFTER]]

A page is what one request answers: at most a thousand keys. However many keys a bucket has, one page is in memory.
Reads DS3_ENDPOINT, DS3_ACCESS_KEY and DS3_SECRET_KEY.
"""

import sys

from ds3tool import Ds3Client

PAGE = 1000


def main(bucket: str, prefix: str = "", after: str = "") -> int:
    """Print the keys of `bucket` that begin with `prefix`, those after the key `after`, and where each page ends."""
    with Ds3Client.from_environment() as client:
        # The next page is asked for when the loop comes to it, and none at all after a `break`.
        for number, page in enumerate(
            client.listing_pages(bucket, prefix=prefix, start_after=after, page_size=PAGE), 1
        ):
            for listed in page.objects:
                print(f"{listed.size:>12} {listed.key}")
            # Keys are in the order of their bytes, so the last one of a page is all that has to be remembered.
            more = f", go on after {page.objects[-1].key}" if page.truncated else ", the last one"
            print(f"page {number}: {len(page.objects)} objects{more}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in {2, 3, 4}:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
