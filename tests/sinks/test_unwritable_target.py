"""A target folder that cannot be written to is refused before anything is asked of the appliance."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

_NOBODY = 65534
_TRY = """
import os, sys
from ds3tool.errors import SinkError
from ds3tool.sinks.local import LocalSink
if os.geteuid() == 0:
    os.seteuid(int(sys.argv[2]))
try:
    LocalSink(sys.argv[1]).close()
except SinkError as error:
    print(error)
"""


def test_a_folder_without_write_permission_is_refused_at_once(project: Path) -> None:
    """The sink cannot be made, and the error names the folder."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o555)
        done = subprocess.run(
            [sys.executable, "-c", _TRY, folder, str(_NOBODY)],
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(project)},
            capture_output=True,
            text=True,
            check=False,
        )
        os.chmod(folder, 0o755)
    assert done.stdout == f"the target folder {folder} cannot be written to\n", done.stderr
