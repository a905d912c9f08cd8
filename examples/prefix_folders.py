"""Folders where there are none: make one, look into it level by level, delete it.

python examples/prefix_folders.py BUCKET

A bucket knows only keys. What looks like a folder is a prefix that ends in a slash: it is there as long as a key begins
with it. Reads DS3_ENDPOINT, DS3_ACCESS_KEY and DS3_SECRET_KEY.
"""

import sys

from ds3tool import BytesBody, Ds3Client


def show(client: Ds3Client, bucket: str, prefix: str = "", indent: str = "") -> None:
    """Print what is right below `prefix`, and below each folder there."""
    # With a delimiter, all keys that go on beyond the next slash are told once, as a prefix.
    for page in client.listing_pages(bucket, prefix=prefix, delimiter="/"):
        for listed in page.objects:
            if listed.key != prefix:  # an empty folder's own object
                print(f"{indent}{listed.key.removeprefix(prefix)}")
        for folder in page.prefixes:
            print(f"{indent}{folder.removeprefix(prefix)}")
            show(client, bucket, folder, indent + "    ")


def main(bucket: str) -> int:
    """Make some folders in a new bucket, and delete one of them."""
    with Ds3Client.from_environment() as client:
        client.create_bucket(bucket)
        for key in ("logs/2024/a.txt", "logs/2024/b.txt", "logs/2025/c.txt", "logs-old/d.txt"):
            client.put_object(bucket, key, BytesBody(key.encode()))
        # An empty folder is an object without bytes whose key ends in a slash.
        client.put_object(bucket, "logs/2026/", BytesBody(b""))
        show(client, bucket)

        # One request deletes a folder with all that is in it, however much that is.
        client.delete_folder(bucket, "logs/2024")

        # Key by key, a thousand a request, is for a choice of keys, and tells of each that could not be deleted.
        # The slash belongs to the prefix: without it, `logs-old/` would go too.
        keys = (listed.key for listed in client.list_objects(bucket, prefix="logs/"))
        failures = [failure for result in client.delete_objects(bucket, keys) for failure in result.failures]
        for failure in failures:
            print(f"{failure.key}: {failure.message}", file=sys.stderr)
        print("after the deletion:")
        show(client, bucket)
    return 3 if failures else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
