"""Local files held against objects, where no appliance of ours makes such objects."""

from __future__ import annotations

import threading
from pathlib import Path

from ds3tool.protocol.model import ChecksumType, ObjectHead
from ds3tool.sources.counterpart import LocalFiles


def test_bytes_under_the_name_of_a_folder_are_not_called_the_same(tmp_path: Path) -> None:
    """No file can hold them, so that the folder is there says nothing of them; of an empty one it says all."""
    (tmp_path / "folder").mkdir()
    files = LocalFiles(str(tmp_path))
    empty = ObjectHead("folder/", 0, None, None, None, ChecksumType.MD5, {}, {})
    full = ObjectHead("folder/", 5, None, None, None, ChecksumType.MD5, {0: "a"}, {})
    assert files.problem("folder/", empty, threading.Event()) is None
    assert "5 bytes" in str(files.problem("folder/", full, threading.Event()))
