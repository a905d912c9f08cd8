"""How whole objects get their names: attributes, bytes safe on the disk, the name, the name safe on the disk."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Collection, Iterable, Sequence

from ds3tool.errors import Ds3Error, SinkError
from ds3tool.jobs.ends import TargetObject
from ds3tool.protocol.attributes import FileAttributes
from ds3tool.sinks import leftovers
from ds3tool.sinks.attributes import Attributes
from ds3tool.sinks.durability import give_name, sync_all, sync_folder
from ds3tool.sinks.folders import Folders
from ds3tool.sinks.groups import Due, Outcome
from ds3tool.sinks.inodes import Inodes
from ds3tool.sinks.links import Links, check_inside, read_target
from ds3tool.sinks.names import split
from ds3tool.sinks.notes import Notes
from ds3tool.sinks.parts import Part
from ds3tool.sinks.unnamed import Unnamed, link, path, unwritable

_COMPARED_BYTES = 1024 * 1024
_IS_THERE = "two keys can mean one file name here, or somebody wrote it meanwhile; it was left as it is"


class Publisher:
    """Gives objects their names below a root. Safe for several threads.

    With `attributes`, files, links and folders get what was stored with them.
    """

    def __init__(self, folders: Folders, *, links: Links, attributes: Attributes | None, notes: Notes) -> None:
        self._folders = folders
        self._links = links
        self._attributes = attributes
        self._notes = notes
        # What has appeared in this run; another object of it must not replace that.
        self._own = Inodes()
        # Names whose bearers may be the very objects that are to have them, from a run that was killed.
        self._same: set[str] = set()
        # What has got its name is not told before the folders are safe that another thread has seen made for it.
        self._naming = threading.Lock()

    def accept_same(self, name: str) -> None:
        """Let a file of this name count as the one that is to have it, when its bytes are the same."""
        self._same.add(name)

    def publish(self, group: list[Due]) -> Outcome:
        """Make the group's bytes safe, give the files their names, make the names safe; tell of each what came of it.

        The parts' files stay open, and have no temporary name any more.
        """
        synced = self._make_safe([due.part for due in group if due.part is not None])
        outcome: Outcome = []
        appeared: dict[str, list[TargetObject]] = {}
        by_folder: dict[str, list[Due]] = {}
        for due in group:
            by_folder.setdefault(_folder_of(due), []).append(due)
        with self._naming:
            moved = self._moved_folders(by_folder)
            for folder, dues in by_folder.items():
                named = self._appear_in(folder, dues, synced, moved.get(folder), outcome)
                if named:
                    appeared[folder] = named
            unsafe = self._make_names_safe(appeared)
        outcome.extend((item, unsafe.get(folder)) for folder, items in appeared.items() for item in items)
        return outcome

    def publish_unnamed(self, group: Sequence[Unnamed], synced: Sequence[OSError | None]) -> dict[int, Ds3Error]:
        """Give files without a name, which are safe but for these errors, theirs, and make those safe.

        Returns by their numbers what went wrong. What is published so is never taken for something to be replaced.
        """
        failed: dict[int, Ds3Error] = {}
        by_folder: dict[str, list[tuple[Unnamed, OSError | None]]] = {}
        for file in zip(group, synced, strict=True):
            folder = file[0][1]
            if folder in by_folder:
                by_folder[folder].append(file)
            else:
                by_folder[folder] = [file]
        with self._naming:
            for folder, files in by_folder.items():
                self._link_in(folder, files, failed)
            unsafe = self._make_names_safe(by_folder)
        for folder, failure in unsafe.items():
            for (number, _, _, _), _ in by_folder[folder]:
                failed.setdefault(number, failure)
        return failed

    def _link_in(
        self, folder: str, files: Sequence[tuple[Unnamed, OSError | None]], failed: dict[int, Ds3Error]
    ) -> None:
        """Let files appear in one folder; add to `failed` what could not."""
        try:
            with self._folders.opened(folder, make=False) as parent:
                if not self._folders.still_there(folder, parent):
                    raise _moved(folder)
                for (number, _, last, descriptor), error in files:
                    try:
                        if error is not None:
                            raise error
                        link(descriptor, last, parent)
                    except FileExistsError:
                        failed[number] = SinkError(f"{path(folder, last)} is there already", hint=_IS_THERE)
                    except (OSError, ValueError) as failure:
                        failed[number] = unwritable(path(folder, last), failure)
        except (OSError, SinkError) as failure:
            for (number, _, last, _), _ in files:
                failed[number] = failure if isinstance(failure, SinkError) else unwritable(path(folder, last), failure)

    def _appear_in(
        self,
        folder: str,
        dues: list[Due],
        synced: dict[str, OSError | None],
        moved: SinkError | None,
        outcome: Outcome,
    ) -> list[TargetObject]:
        """Let all that is due in one folder appear; return what did, and add to `outcome` what could not."""
        appeared: list[TargetObject] = []
        parent: int | None = None
        with contextlib.ExitStack() as opened:
            for due in dues:
                part = due.part
                try:
                    if part is None:
                        self._see_folder(folder)
                    else:
                        if parent is None:
                            parent = opened.enter_context(self._folders.opened(folder, make=False))
                        self._appear(due.item, part, parent, synced[part.temporary] or moved)
                except Ds3Error as error:
                    outcome.append((due.item, error))
                except OSError as error:
                    outcome.append((due.item, unwritable(due.item.name, error)))
                else:
                    appeared.append(due.item)
        return appeared

    def _see_folder(self, folder: str) -> None:
        """Make a folder that is an object, unless it is there."""
        with self._folders.opened(folder) as descriptor:
            if not self._folders.still_there(folder, descriptor):
                raise _moved(folder)

    def give_folders_attributes(self, told: dict[str, FileAttributes]) -> None:
        """Give folders what was stored with them, the deepest first; for when all that stands in them is there."""
        if self._attributes is None:
            return
        for name, attributes in sorted(told.items(), key=lambda one: one[0].count("/"), reverse=True):
            try:
                with self._folders.opened(name.removesuffix("/"), make=False) as descriptor:
                    self._attributes.give(descriptor, attributes, name)
                    os.fsync(descriptor)
            except (OSError, SinkError) as error:
                self._notes.add("attributes of folders not made again", name, str(error))

    # -- the bytes ---------------------------------------------------------------------------------------------

    def _make_safe(self, parts: list[Part]) -> dict[str, OSError | None]:
        """Give the files their attributes and make them safe; return by temporary name what went wrong."""
        if self._attributes is not None:
            for part in parts:
                if part.attributes is not None and not part.attributes.link:
                    self._attributes.give(part.descriptor, part.attributes, part.item.name)
        return dict(zip((part.temporary for part in parts), sync_all([part.descriptor for part in parts]), strict=True))

    # -- the name ----------------------------------------------------------------------------------------------

    def _moved_folders(self, paths: Iterable[str]) -> dict[str, SinkError]:
        """Return the folders, of those that are there, whose path leads somewhere else by now."""
        moved: dict[str, SinkError] = {}
        for folder in paths:
            with (
                contextlib.suppress(OSError, SinkError),
                self._folders.opened(folder, make=False) as descriptor,
            ):
                if not self._folders.still_there(folder, descriptor):
                    moved[folder] = _moved(folder)
        return moved

    def _appear(self, item: TargetObject, part: Part, parent: int, failed: OSError | SinkError | None) -> None:
        """Give a temporary file its name, or let the link of which it is the content have it.

        Whatever comes of it, nothing has the temporary name any more.
        """
        named = False
        try:
            if failed is not None:
                raise failed
            if part.identity is None or not part.is_at(parent):
                raise SinkError(f"{item.name} cannot be written: somebody has replaced its temporary file")
            last = item.name.rpartition("/")[2]
            if part.attributes is None or not part.attributes.link:
                if item.name in self._same and _has_bytes_of(last, parent, part.descriptor, item.size):
                    return
                self._give_name(item, part.temporary, last, parent)
                self._own.add(*part.identity)
                named = True
            elif self._links is Links.SKIP:
                self._notes.add("symbolic links left out", item.name)
            else:
                self._appear_as_link(item, part, part.attributes, parent)
        finally:
            if not named:
                part.remove(parent)

    def _appear_as_link(self, item: TargetObject, part: Part, attributes: FileAttributes, parent: int) -> None:
        target = read_target(part.descriptor, item.size, item.name)
        if self._links is Links.INSIDE:
            check_inside(item.name, target)
        temporary = leftovers.link_name(part.temporary)
        leftovers.remove(temporary, parent)  # an earlier run may have been killed between the two names
        os.symlink(target, os.fsencode(temporary), dir_fd=parent)
        try:
            if self._attributes is not None:
                self._attributes.give_link(temporary, parent, attributes, item.name)
            state = os.stat(temporary, dir_fd=parent, follow_symlinks=False)
            self._give_name(item, temporary, split(item.name)[1], parent)
            self._own.add(state.st_dev, state.st_ino)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=parent)
            raise

    def _give_name(self, item: TargetObject, temporary: str, last: str, parent: int) -> None:
        """Give a temporary file or link its name: in place of what has it when that is asked for, else never."""
        if item.replace and self._is_replaceable(item, last, parent):
            os.rename(temporary, last, src_dir_fd=parent, dst_dir_fd=parent)
        else:
            try:
                give_name(temporary, last, parent)
            except FileExistsError as error:
                raise SinkError(f"{item.name} is there already", hint=_IS_THERE) from error

    def _is_replaceable(self, item: TargetObject, last: str, parent: int) -> bool:
        """Whether a file or a link of that name is there; SinkError when it is none, or came in this very run."""
        try:
            state = os.stat(last, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(state.st_mode) and not stat.S_ISLNK(state.st_mode):
            kind = "a folder" if stat.S_ISDIR(state.st_mode) else "something that is no regular file"
            raise SinkError(
                f"{item.name} cannot take the place of {kind}", hint="move it away, or get into another folder"
            )
        if state in self._own:
            raise SinkError(f"{item.name} is there already: another object of this run has appeared so", hint=_IS_THERE)
        return True

    # -- the name, safe ----------------------------------------------------------------------------------------

    def _make_names_safe(self, appeared: Collection[str]) -> dict[str, SinkError]:
        """Make the folders safe in which something has appeared, and those above in which they were made.

        Returns those of which the names may not be safe, and why.
        """
        errors: dict[str, SinkError] = {}
        for folder in {*appeared, *self._folders.take_made()}:
            error = self._sync_folder(folder)
            if error is not None:
                errors[folder] = error
        unsafe = {}
        for folder in appeared if errors else ():
            above = next((error for above, error in errors.items() if _is_below(folder, above)), None)
            if above is not None:
                unsafe[folder] = above
        return unsafe

    def _sync_folder(self, folder: str) -> SinkError | None:
        try:
            with self._folders.opened(folder, make=False) as descriptor:
                sync_folder(descriptor)
        except (OSError, SinkError) as error:
            return SinkError(f"the folder {folder or 'that is the target'} could not be made safe on the disk: {error}")
        return None


def _is_below(folder: str, above: str) -> bool:
    return not above or folder == above or folder.startswith(f"{above}/")


def _folder_of(due: Due) -> str:
    """Return the folder that must be safe on the disk for the object to be: its own, where it is one."""
    return due.item.name.removesuffix("/") if due.part is None else due.item.name.rpartition("/")[0]


def _moved(folder: str) -> SinkError:
    return SinkError(
        f"the folder {folder} has been moved away or replaced while files were written into it",
        hint="nothing more appears in it; get it again when nobody changes the target folder",
    )


def _has_bytes_of(name: str, folder: int, descriptor: int, size: int) -> bool:
    """Whether the file of that name in an open folder holds the bytes of an open one, of `size` bytes."""
    try:
        other = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return False
    try:
        state = os.fstat(other)
        return (
            stat.S_ISREG(state.st_mode)
            and state.st_size == size
            and all(
                os.pread(other, _COMPARED_BYTES, at) == os.pread(descriptor, _COMPARED_BYTES, at)
                for at in range(0, size, _COMPARED_BYTES)
            )
        )
    finally:
        os.close(other)
