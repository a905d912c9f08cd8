"""Put or get a folder of files with obstore, so many at once.

Run by the Python that the peers are installed for: `python with_obstore.py put|get ENDPOINT FOLDER PREFIX [options]`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import obstore
from obstore.store import S3Store

BUCKET = "bench"
_LARGE = 8 << 20


async def put(store: S3Store, asked: argparse.Namespace) -> None:
    """Put every file below the folder; a large one in parts."""
    paths = iter([path for path in sorted(asked.folder.rglob("*")) if path.is_file()])

    async def work() -> None:
        for path in paths:
            key = asked.prefix + path.relative_to(asked.folder).as_posix()
            if path.stat().st_size > _LARGE:
                parts = {"chunk_size": asked.part_size} if asked.part_size else {}
                await obstore.put_async(store, key, path, **parts)
            else:
                await obstore.put_async(store, key, path.read_bytes(), use_multipart=False)

    await asyncio.gather(*(work() for _ in range(asked.at_once)))


async def _listed(store: S3Store, prefix: str) -> AsyncIterator[tuple[str, int]]:
    async for page in obstore.list(store, prefix, chunk_size=1000):
        for item in page:
            yield item["path"], item["size"]


async def get(store: S3Store, asked: argparse.Namespace) -> None:
    """Get every object below the prefix; a large one as it comes."""
    listed = _listed(store, asked.prefix)
    turn = asyncio.Lock()

    async def following() -> tuple[str, int] | None:
        async with turn:
            return await anext(listed, None)

    async def work() -> None:
        while (item := await following()) is not None:
            key, size = item
            target = asked.folder / key.removeprefix(asked.prefix)
            os.makedirs(target.parent, exist_ok=True)
            came = await obstore.get_async(store, key)
            with open(target, "wb", buffering=0) as file:
                if size > _LARGE:
                    async for piece in came.stream(min_chunk_size=asked.part_size or 10 << 20):
                        file.write(piece)
                else:
                    file.write(await came.bytes_async())

    await asyncio.gather(*(work() for _ in range(asked.at_once)))


def main() -> None:
    """Move everything, and raise what fails."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["put", "get"])
    parser.add_argument("endpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("prefix")
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--part-size", type=int)
    parser.add_argument("--lean", action="store_true", help="sign no bodies")
    asked = parser.parse_args()
    store = S3Store(
        BUCKET,
        endpoint=asked.endpoint,
        region="us-east-1",
        access_key_id="k",
        secret_access_key="s",
        unsigned_payload=asked.lean,
        client_options={"allow_http": True, "timeout": "10 minutes"},
    )
    asyncio.run(put(store, asked) if asked.what == "put" else get(store, asked))
    os._exit(0)  # its threads now and then abort the process when Python takes them down, after all is done


if __name__ == "__main__":
    main()
