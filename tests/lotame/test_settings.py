"""Lotame's token and the rest are found in the right place, and what lacks is named with where it was looked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ds3tool.errors import ConfigError
from ds3tool.lotame.settings import BASE_URL, LotameSettings, find_settings, read_properties

WHOLE = "[default]\ntoken = \"file-token\"\naccess='file-access'\nclient_id : 4321\nbase_url = https://api.example/2/\n"
VARIABLES = {"LOTAME_TOKEN": "env-token", "LOTAME_ACCESS": "env-access", "LOTAME_CLIENT_ID": "99"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def find(
    home: Path,
    variables: Mapping[str, str] | None = None,
    *,
    file: Path | None = None,
    profile: Mapping[str, str] | None = None,
) -> LotameSettings:
    return find_settings(file=file, profile=profile, environ={"HOME": str(home), **(variables or {})})


def test_the_file_at_home_is_read(home: Path) -> None:
    """Quotes around values, either sign before them and a slash at the address's end are no part of them."""
    path = written(home / "lotame.properties", WHOLE)
    found = find(home)
    assert found == LotameSettings("file-token", "file-access", "4321", "https://api.example/2")
    assert set(found.origins.values()) == {str(path)}


def test_each_key_comes_from_the_first_place_that_has_it(home: Path, tmp_path: Path) -> None:
    """Environment before profile before the named file before the one at home; each tells where it was found."""
    written(home / "lotame.properties", WHOLE)
    named = written(tmp_path / "named", "[default]\nclient_id = 5\nbase_url = https://named.example\n")
    found = find(
        home,
        file=named,
        profile={"access": "profile-access", "client_id": "7"},
        variables={"LOTAME_TOKEN": "env-token"},
    )
    assert (found.token, found.access, found.client_id) == ("env-token", "profile-access", "7")
    assert found.base_url == "https://named.example"
    assert found.origins == {
        "token": "LOTAME_TOKEN",
        "access": "the profile",
        "client_id": "the profile",
        "base_url": str(named),
    }
    assert found.who == "token from LOTAME_TOKEN, access from the profile"


def test_the_environment_alone_is_enough(home: Path) -> None:
    """Where nothing lacks, the file at home is not even looked at; the address has its default."""
    written(home / "lotame.properties", "nonsense", mode=0o644)
    found = find(home, VARIABLES)
    assert found == LotameSettings("env-token", "env-access", "99", BASE_URL)
    assert "base_url" not in found.origins


def test_an_empty_variable_says_nothing(home: Path) -> None:
    """A variable that is set to nothing does not hide the file."""
    written(home / "lotame.properties", WHOLE)
    assert find(home, {"LOTAME_TOKEN": " "}).token == "file-token"


def test_what_lacks_is_named_with_where_it_was_looked_for(home: Path, tmp_path: Path) -> None:
    """Each lacking key and each place is named, and how to set it."""
    named = written(tmp_path / "named", "[default]\n")
    with pytest.raises(ConfigError) as failure:
        find(home, file=named, profile={"base_url": "https://x.example"}, variables={"LOTAME_TOKEN": "env-token"})
    assert "access and client_id are nowhere" in failure.value.message
    for place in ("LOTAME_TOKEN", "the profile", str(named), f"{home / 'lotame.properties'} (not there)"):
        assert place in failure.value.message
    assert "LOTAME_ACCESS and LOTAME_CLIENT_ID" in (failure.value.hint or "")
    assert "env-token" not in failure.value.message
    assert failure.value.exit_code == 2


def test_one_that_lacks_is_one(home: Path) -> None:
    """Grammar is kept."""
    written(home / "lotame.properties", WHOLE.replace("client_id", "client"))
    with pytest.raises(ConfigError, match="Lotame's client_id is nowhere"):
        find(home)


def test_a_named_file_must_be_there(home: Path, tmp_path: Path) -> None:
    """A file that a person has named and that is not there is an error, and not passed over."""
    with pytest.raises(ConfigError, match=r"nobody.*cannot be read"):
        find(home, file=tmp_path / "nobody", variables=VARIABLES)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606])
def test_a_token_that_others_can_read_is_refused_with_the_command_to_run(home: Path, mode: int) -> None:
    """As for every file of secrets."""
    path = written(home / "lotame.properties", WHOLE, mode)
    with pytest.raises(ConfigError, match="others may read it") as failure:
        find(home)
    assert failure.value.hint == f"run: chmod 600 {path}"


def test_a_file_without_secrets_may_be_read_by_all(home: Path, tmp_path: Path) -> None:
    """An address and a client's number are no secrets."""
    named = written(tmp_path / "named", "[default]\nbase_url = https://x.example\nclient_id = 5\n", 0o644)
    assert find(home, file=named, variables=VARIABLES).base_url == "https://x.example"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("token = hush\n", "not understood at line 1"),
        ("[default]\ntoken = hush\n hush more\nhush\n", "not understood at line 4"),
        ("[default]\ntoken = hush\ntoken = hush\n", "not understood at line 3"),
        ("[default]\n[default]\n", "not understood at line 2"),
        ("[lotame]\ntoken = hush\n", r"no section \[default\]"),
        ("", r"no section \[default\]"),
    ],
)
def test_a_file_of_another_shape_is_told_by_its_line(home: Path, text: str, words: str) -> None:
    """The line is named, and nothing of what stands in it."""
    written(home / "lotame.properties", text)
    with pytest.raises(ConfigError, match=words) as failure:
        find(home)
    assert "hush" not in f"{failure.value.message}{failure.value.hint}"
    assert failure.value.__cause__ is None


def test_a_file_that_is_no_text(home: Path) -> None:
    """Bytes that are no UTF-8 are no properties."""
    path = home / "lotame.properties"
    path.write_bytes(b"[default]\ntoken = \xff\xfe\n")
    with pytest.raises(ConfigError, match="not understood"):
        find(home)


def test_what_editors_and_tokens_may_hold(tmp_path: Path) -> None:
    """A byte order mark, a section in capitals, percent signs, colons and comments do no harm; others are let be."""
    path = written(tmp_path / "p", "\ufeff# mine\n[DEFAULT]\nToken = a%b%(c)s:d=e\n; no\naccess =\nusername = me\n")
    assert read_properties(path) == {"token": "a%b%(c)s:d=e"}


@pytest.mark.parametrize("key", ["LOTAME_TOKEN", "LOTAME_ACCESS", "LOTAME_CLIENT_ID"])
@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a b", "é"])
def test_what_no_header_can_carry_is_refused(home: Path, key: str, value: str) -> None:
    """A line feed in a token would be another header; the message does not show the value."""
    with pytest.raises(ConfigError, match=f"from {key}") as failure:
        find(home, {**VARIABLES, key: value})
    assert "Evil" not in failure.value.message


@pytest.mark.parametrize(
    "url",
    [
        "api.lotame.com/2",
        "ftp://x.example",
        "https://",
        "https://me:pw@x.example",
        "https://x?y=1",
        "https://[x",
        "https://x:port",
        "https://x/ y",
    ],
)
def test_an_address_that_is_none_is_refused(home: Path, url: str) -> None:
    """An address has a scheme and a host, and no password in it."""
    with pytest.raises(ConfigError, match=r"from LOTAME_BASE_URL.*not the address") as failure:
        find(home, {**VARIABLES, "LOTAME_BASE_URL": url})
    assert "pw" not in failure.value.message


def test_nothing_shows_the_secrets(home: Path) -> None:
    """Settings can be printed."""
    assert not any(secret in repr(find(home, VARIABLES)) for secret in ("env-token", "env-access"))
