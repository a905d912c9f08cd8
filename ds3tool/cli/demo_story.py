"""What the demos share: how they tell their steps, where the tapes are, what a shown step does not print."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from ds3tool.cli.output import Output, OutputFormat
from ds3tool.cli.settings import Settings

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client

_ASKED_AT_ONCE = 1000


class Story:
    """Tells the steps: on stdout for people, on stderr when stdout is for a program."""

    def __init__(self, settings: Settings) -> None:
        stream = sys.stdout if settings.output is OutputFormat.TABLE else sys.stderr
        self._out = Output(OutputFormat.TABLE, stream)
        self._quiet = settings.quiet
        self._step = 0

    def step(self, text: str) -> None:
        """Begin a step."""
        self._step += 1
        if not self._quiet:
            self._out.line("")
            self._out.line(f"{self._step}. {text}")

    def tell(self, text: str) -> None:
        """Say what came of it."""
        if not self._quiet:
            self._out.line(f"   {text}")


def quiet_results(settings: Settings) -> Settings:
    """Return settings for a step: the demo's result is one record, and a line an object would stand between."""
    return replace(settings, output=OutputFormat.TABLE)


def tell_placement(client: Ds3Client, bucket: str, story: Story) -> list[str]:
    """Say which tapes hold how many blobs of a bucket; return their bar codes, the fullest first."""
    from ds3tool.protocol.model import ObjectToGet

    held: Counter[str] = Counter()
    keys = (listed.key for listed in client.list_objects(bucket))
    while batch := list(itertools.islice(keys, _ASKED_AT_ONCE)):
        for placed in client.get_blob_placement(bucket, [ObjectToGet(key) for key in batch]):
            held.update(tape.bar_code for tape in placed.placement.tapes)
    for bar_code, blobs in sorted(held.items()):
        story.tell(f"{bar_code}: {blobs:,} blobs")
    return [bar_code for bar_code, _ in held.most_common()]
