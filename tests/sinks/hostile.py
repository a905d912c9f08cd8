"""A restore of hostile keys, step by step, while somebody else meddles with the target; holds what must hold."""

from __future__ import annotations

import contextlib
import os
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from ds3tool.errors import SinkError
from ds3tool.jobs.ends import TargetObject
from ds3tool.protocol.attributes import FileAttributes
from ds3tool.sinks.local import LocalSink

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW

Entry = tuple[int, int, int, int, int, int, bytes]


@dataclass(frozen=True)
class Hostile:
    """An object to restore: its name at the target, its bytes (a link's target, when it is a link)."""

    name: str
    data: bytes
    is_link: bool = False
    replace: bool = False
    sparse: bool = False


def fold(name: str) -> str:
    """Return what a file system that tells neither case nor normal forms apart makes of a name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def snapshot(folder: Path) -> dict[str, Entry]:
    """Return everything below a folder, itself included, with all by which a change would show."""
    found: dict[str, Entry] = {}
    for path in [folder, *folder.rglob("*")]:
        state = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(state.st_mode) else b""
        found[str(path)] = (
            state.st_ino,
            state.st_mode,
            state.st_nlink,
            state.st_size,
            state.st_mtime_ns,
            state.st_ctime_ns,
            content,
        )
    return found


@dataclass
class Restore:
    """One run of a sink over hostile objects below `base`, beside a tree that nothing may touch."""

    base: Path
    sink: LocalSink
    chance: Random
    objects: list[Hostile]
    folds: bool = False
    done: dict[int, SinkError | None] = field(default_factory=dict)
    moved_away: int = 0

    @property
    def root(self) -> Path:
        return self.base / "restored"

    def run(self, *, meddling: float) -> None:
        """Restore all objects in random order, some of them abandoned; somebody meddles between the steps."""
        outside = snapshot(self.base / "outside")
        pending = [(number, self._steps(one)) for number, one in enumerate(self.objects)]
        under_way: dict[int, TargetObject] = {}
        while pending:
            if self.chance.random() < meddling:
                self._meddle()
            place = self.chance.randrange(len(pending))
            number, steps = pending[place]
            try:
                self._step(number, steps.pop(0), under_way)
            except SinkError as error:
                self.sink.abandon(under_way[number])
                self.done[number] = error
                steps.clear()
            if not steps:
                pending.pop(place)
            if self.chance.random() < 0.3:
                self._settle(under_way)
        self._settle(under_way)
        assert set(self.done) == set(range(len(self.objects)))
        self.sink.close()
        assert snapshot(self.base / "outside") == outside
        assert sorted(path.name for path in self.base.iterdir()) == ["outside", "restored"]
        self._hold_that_nothing_is_left()

    def _steps(self, one: Hostile) -> list[str]:
        blobs = ["first", "second"] if one.data else []
        self.chance.shuffle(blobs)
        end = "abandon" if self.chance.random() < 0.15 else "finish"
        if self.chance.random() < 0.2:  # told late
            return ["begin", *blobs, "describe", end]
        return ["begin", "describe", *blobs, end]

    def _step(self, number: int, step: str, under_way: dict[int, TargetObject]) -> None:
        one = self.objects[number]
        middle = (len(one.data) + 1) // 2
        if step == "begin":
            item = TargetObject(f"key {number} {one.name!a}", len(one.data), one.name, replace=one.replace)
            under_way[number] = item
            self.sink.check_name(item.name)
            return
        item = under_way[number]
        if step == "describe":
            self.sink.describe(item, FileAttributes(link=one.is_link, sparse=one.sparse, mode=0o100644).to_metadata())
        elif step == "first":
            self.sink.receive_small(item, 0, memoryview(one.data[:middle]))
        elif step == "second":
            self.sink.receive_small(item, middle, memoryview(one.data[middle:]))
        elif step == "finish":
            self.sink.finish(item)
        else:
            self.sink.abandon(item)
            self.done[number] = SinkError("abandoned")

    def _settle(self, under_way: dict[int, TargetObject]) -> None:
        numbers = {id(item): number for number, item in under_way.items()}
        settled = self.sink.settle(wait=True)
        skipped = any("left out" in note for note in self.sink.notes)
        for item, error in settled:
            number = numbers[id(item)]
            assert number not in self.done
            assert error is None or isinstance(error, SinkError)
            self.done[number] = error
        # Nobody meddles between the end of a group and this look at it.
        for item, error in settled:
            one = self.objects[numbers[id(item)]]
            if error is None and not (one.is_link and skipped):
                assert self._is_whole(one), one

    def _is_whole(self, one: Hostile) -> bool:
        """Whether an object is there, whole, under its own name, with no link on the way."""
        current = os.open(self.root, _FOLDER)
        try:
            *folders, last = one.name.removesuffix("/").split("/")
            for part in folders:
                below = os.open(self._real(part, current), _FOLDER, dir_fd=current)
                os.close(current)
                current = below
            last = self._real(last, current)
            state = os.stat(last, dir_fd=current, follow_symlinks=False)
            if one.name.endswith("/"):
                return stat.S_ISDIR(state.st_mode)
            if one.is_link:
                return os.readlink(os.fsencode(last), dir_fd=current) == one.data
            file = os.open(last, _FILE, dir_fd=current)
            with open(file, "rb") as opened:
                return opened.read() == one.data
        finally:
            os.close(current)

    def _real(self, name: str, folder: int) -> str:
        if not self.folds:
            return name
        return next((entry for entry in os.listdir(folder) if fold(entry) == fold(name)), name)

    def _hold_that_nothing_is_left(self) -> None:
        own = {part for one in self.objects for part in one.name.split("/")}
        for folder, folders, files, _ in os.fwalk(self.root):
            for name in [*folders, *files]:
                assert not name.startswith(".ds3tool-") or name in own, f"{folder}/{name}"

    # -- somebody else -------------------------------------------------------------------------------------------

    def _meddle(self) -> None:
        """Do what another program could do below the target just now."""
        name = self.chance.choice(self.objects).name.removesuffix("/")
        parts = name.split("/")
        path = self.root.joinpath(*parts[: self.chance.randrange(1, len(parts) + 1)])
        with contextlib.suppress(OSError, ValueError):  # what is not possible is not done
            # Somebody else has no reason to touch what the test watches.
            if not {"", ".", ".."} & set(parts) and f"{os.path.realpath(path.parent)}/".startswith(f"{self.root}/"):
                self._do(self.chance.randrange(5), path)

    def _do(self, what: int, path: Path) -> None:
        if what == 0:
            path.symlink_to(self.chance.choice([self.base / "outside", self.base / "outside/file", Path("..")]))
        elif what == 1 and not path.is_symlink():
            self.moved_away += 1
            path.rename(self.root / f"moved {self.moved_away}")
            path.symlink_to(self.base / "outside")
        elif what == 2:
            path.mkdir()
        elif what == 3:
            path.touch(exist_ok=False)
        elif path.is_symlink():
            path.unlink()
