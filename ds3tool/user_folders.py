"""Where the user's configuration and state are kept: `platformdirs` is asked where that is not plain; a leaf.

Importing that library takes as long as a dozen of our own modules. On Linux, with a home and by the rules of the XDG
base directories, what it answers is one line; whatever is not plainly that is left to it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_NAME = "ds3tool"


def config_folder() -> Path:
    """Return the user's configuration folder for ds3tool, whether or not it is there."""
    found = _plain_folder("XDG_CONFIG_HOME", ".config")
    if found is not None:
        return found
    from platformdirs import user_config_path

    return user_config_path(_NAME)


def state_folder() -> Path:
    """Return the user's folder for what ds3tool remembers between runs, whether or not it is there."""
    found = _plain_folder("XDG_STATE_HOME", ".local/state")
    if found is not None:
        return found
    from platformdirs import user_state_path

    return user_state_path(_NAME)


def _plain_folder(variable: str, below_home: str) -> Path | None:
    base, home = os.environ.get(variable), os.environ.get("HOME", "")
    if sys.platform != "linux" or "ANDROID_DATA" in os.environ or not home.startswith("/"):
        return None
    if not base:
        return Path(home, below_home, _NAME)
    return Path(base, _NAME) if base.startswith("/") else None
