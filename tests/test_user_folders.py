"""Where configuration and state are kept, without asking the library that knows every system."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from platformdirs import user_config_path, user_state_path

from ds3tool.user_folders import config_folder, state_folder


@pytest.mark.parametrize("home", [None, "", "/home/someone", "/", "relative", "~"])
@pytest.mark.parametrize("base", [None, "", "/elsewhere", "/else where/é/", "relative", "~/mine", "$HOME/mine", " "])
def test_the_folders_are_those_that_the_library_names(
    home: str | None, base: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the variables say, and also when they say nothing, it is the folder that `platformdirs` answers."""
    for name, value in (("HOME", home), ("XDG_CONFIG_HOME", base), ("XDG_STATE_HOME", base)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert config_folder() == user_config_path("ds3tool")
    assert state_folder() == user_state_path("ds3tool")


def test_elsewhere_than_on_linux_the_library_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is short here is no rule of other systems."""
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: Path("/Users/x/Library", name))
    monkeypatch.setattr("platformdirs.user_state_path", lambda name: Path("/Users/x/State", name))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert config_folder() == Path("/Users/x/Library/ds3tool")
    assert state_folder() == Path("/Users/x/State/ds3tool")
