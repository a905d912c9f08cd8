"""Where the address and the keys come from, and who wins."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from ds3tool import profiles
from ds3tool.errors import ConfigError
from ds3tool.profiles import Profile, load_connection, read_config, resolve, set_values

LAB = """\
# our lab
default_profile = "lab"

[profile.lab]
endpoint = "https://bp.lab.example"  # the data port
access_key = "lab-id"
secret_key = "lab-secret"
ca_bundle = "/etc/lab.pem"

[profile.prod]
endpoint = "bp.prod.example:8080"
access_key = "prod-id"
secret_key = "prod-secret"
verify_ssl = false
proxy = "http://proxy.example:3128"
"""
KEYS = {"DS3_ACCESS_KEY": "id", "DS3_SECRET_KEY": "secret"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(LAB)
    path.chmod(0o600)
    return path


def test_without_a_name_the_default_profile_counts(path: Path) -> None:
    """`default_profile` names the profile that is used when nothing else does."""
    connection = load_connection(path=path, environ={})
    assert (connection.endpoint, connection.access_key, connection.secret_key, connection.ca_bundle) == (
        "https://bp.lab.example",
        "lab-id",
        "lab-secret",
        "/etc/lab.pem",
    )


def test_the_environment_wins_over_the_default_profile(path: Path) -> None:
    """DS3_ENDPOINT beats the file; what it leaves out still comes from the file."""
    connection = load_connection(path=path, environ={"DS3_ENDPOINT": "http://other"})
    assert (connection.endpoint, connection.access_key) == ("http://other", "lab-id")


def test_a_named_profile_wins_over_the_environment(path: Path) -> None:
    """Whoever names a profile means it, whatever the shell still holds."""
    connection = load_connection("prod", path, {"DS3_ENDPOINT": "http://other", **KEYS})
    assert (connection.endpoint, connection.access_key, connection.verify_tls) == (
        "bp.prod.example:8080",
        "prod-id",
        False,
    )


def test_a_profile_named_by_a_variable_loses_to_the_environment(path: Path) -> None:
    """DS3TOOL_PROFILE chooses a profile and keeps the order of places."""
    environ = {"DS3TOOL_PROFILE": "prod", "DS3_ENDPOINT": "http://other"}
    connection = load_connection(path=path, environ=environ)
    assert (connection.endpoint, connection.access_key) == ("http://other", "prod-id")


def test_the_environment_alone_is_enough(tmp_path: Path) -> None:
    """No file is needed where the three variables are set."""
    environ = {"DS3TOOL_CONFIG": str(tmp_path / "none.toml"), "DS3_ENDPOINT": "http://bp", **KEYS}
    assert load_connection(environ=environ).endpoint == "http://bp"


def test_what_is_missing_is_named_with_the_way_out(tmp_path: Path) -> None:
    """The error says which of the three is not known and how to say it."""
    with pytest.raises(ConfigError, match="no secret key is known") as failure:
        load_connection(
            environ={"DS3TOOL_CONFIG": str(tmp_path / "none"), "DS3_ENDPOINT": "http://bp", "DS3_ACCESS_KEY": "id"}
        )
    assert "DS3_SECRET_KEY" in str(failure.value.hint)


def test_an_unknown_profile_is_named_with_those_there_are(path: Path) -> None:
    """A slip in a profile's name shows the names that exist."""
    with pytest.raises(ConfigError, match="no profile 'labb'") as failure:
        load_connection("labb", path, {})
    assert "lab, prod" in str(failure.value.hint)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("defautl_profile = 'x'", "defautl_profile"),
        ("[profile.lab]\nendpont = 'x'", "profile.lab.endpont"),
        ("[profile.lab]\nverify_ssl = 'no'", "profile.lab.verify_ssl must be true or false"),
        ("[profile.lab]\nendpoint = 3", "profile.lab.endpoint must be a text"),
        ("[profile.lab]\nendpoint = ''", "profile.lab.endpoint"),
        ("profile = 3", "profile is not a table"),
        ("profile.lab = 3", "profile.lab is not a table"),
        ("default_profile = 3", "default_profile"),
        ("a = ", "is not TOML"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_file_and_key(tmp_path: Path, text: str, named: str) -> None:
    """A key nobody knows is never passed over in silence."""
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as failure:
        read_config(path)
    assert named in failure.value.message
    assert str(path) in failure.value.message


def test_a_secret_that_others_can_read_is_refused_with_the_command_to_run(path: Path) -> None:
    """A config file with a secret must be its owner's alone."""
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="others may read it") as failure:
        read_config(path)
    assert failure.value.hint == f"run: chmod 600 {path}"


def test_a_profile_tells_of_the_services_at_a_jobs_other_end(tmp_path: Path) -> None:
    """Tables for S3 and Lotame may stand in a profile; a token is as secret as a key, and in no repr."""
    path = tmp_path / "config.toml"
    path.write_text('[profile.lab.s3]\nregion = "eu-west-1"\n[profile.lab.lotame]\ntoken = "hush"\n')
    path.chmod(0o600)
    profile = read_config(path).profiles["lab"]
    assert (profile.s3, profile.lotame) == ({"region": "eu-west-1"}, {"token": "hush"})
    assert "hush" not in repr(profile)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read it"):
        read_config(path)


@pytest.mark.parametrize(
    ("text", "named"),
    [("s3 = 1", "profile.lab.s3"), ("s3.secret = 'x'", "profile.lab.s3.secret"), ("lotame.token = 1", "lotame.token")],
)
def test_a_wrong_table_for_another_service_is_named(tmp_path: Path, text: str, named: str) -> None:
    """What cannot stand there is refused by its place; so are secrets of AWS, which its own files keep."""
    path = tmp_path / "config.toml"
    path.write_text(f"[profile.lab]\n{text}\n")
    with pytest.raises(ConfigError, match=re.escape(named)):
        read_config(path)


def test_a_file_without_secrets_may_be_read_by_all(tmp_path: Path) -> None:
    """An address is no secret."""
    path = tmp_path / "c.toml"
    path.write_text("[profile.lab]\nendpoint = 'bp'\n")
    path.chmod(0o644)
    assert read_config(path).profiles["lab"].endpoint == "bp"


def test_a_secret_is_in_no_repr(path: Path) -> None:
    """What is logged by accident holds no secret."""
    assert "lab-secret" not in repr(read_config(path))
    assert "lab-secret" not in repr(load_connection(path=path, environ={}))


def test_setting_a_value_keeps_comments_and_all_else(path: Path) -> None:
    """A person's own words in the file survive."""
    set_values(path, {"endpoint": "https://new.example"}, profile="lab")
    text = path.read_text()
    assert "# our lab" in text
    assert "# the data port" in text
    assert read_config(path).profiles["lab"].endpoint == "https://new.example"
    assert read_config(path).profiles["prod"].access_key == "prod-id"


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    """The file and its folder are made for one reader."""
    path = tmp_path / "new" / "config.toml"
    set_values(path, {"secret_key": "s"}, profile="lab")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0
    assert [entry.name for entry in path.parent.iterdir()] == ["config.toml"]


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    """A configuration kept elsewhere is changed there."""
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    set_values(link, {"endpoint": "http://changed"}, profile="lab")
    assert link.is_symlink()
    assert read_config(path).profiles["lab"].endpoint == "http://changed"


def test_a_value_that_does_not_belong_is_refused_and_the_file_left_alone(path: Path) -> None:
    """A wrong value changes nothing."""
    with pytest.raises(ConfigError):
        set_values(path, {"verify_ssl": "maybe"}, profile="lab")
    assert path.read_text() == LAB


@pytest.mark.parametrize("name", ["", "a b", "-x", "a/b", "ü"])
def test_a_profiles_name_is_plain(path: Path, name: str) -> None:
    """Names that would need quoting somewhere are refused."""
    with pytest.raises(ConfigError):
        set_values(path, {"endpoint": "x"}, profile=name)


def proxy_of(
    endpoint: str, environ: dict[str, str], *, place: str | None = None, forced: str | None = None
) -> str | None:
    profile = Profile("here", endpoint=endpoint, access_key="a", secret_key="s", proxy=place)
    return resolve([profile], environ=environ, forced_proxy=forced).connection.proxy


BOTH = {"http_proxy": "http://plain:1", "https_proxy": "secure:2"}


@pytest.mark.parametrize(
    ("endpoint", "environ", "proxy"),
    [
        ("http://bp.example", BOTH, "http://plain:1"),
        ("bp.example:8080", BOTH, "http://plain:1"),
        ("https://bp.example", BOTH, "http://secure:2"),
        ("http://bp.example", {"HTTP_PROXY": "http://cgi:1"}, None),
        ("https://bp.example", {"HTTPS_PROXY": "http://big:1"}, "http://big:1"),
        ("http://bp.example", {"all_proxy": "http://all:1"}, "http://all:1"),
        ("http://bp.example", BOTH | {"no_proxy": "*"}, None),
        ("http://bp.example", BOTH | {"no_proxy": "other, .example"}, None),
        ("http://bp.example", BOTH | {"no_proxy": "example"}, None),
        ("http://bp.example", BOTH | {"no_proxy": "ample"}, "http://plain:1"),
        ("http://bp.example", BOTH | {"no_proxy": "bp.example:8080"}, "http://plain:1"),
        ("http://bp.example:8080", BOTH | {"no_proxy": "bp.example:8080"}, None),
        ("http://10.1.2.3", BOTH | {"NO_PROXY": "10.0.0.0/8"}, None),
        ("http://192.0.2.1", BOTH | {"no_proxy": "10.0.0.0/8"}, "http://plain:1"),
        ("http://[2001:db8::1]", BOTH | {"no_proxy": "2001:db8::/32"}, None),
        ("http://127.0.0.1:8080", BOTH, None),
        ("http://localhost", BOTH, None),
        ("http://[::1]:80", BOTH, None),
    ],
)
def test_the_proxy_variables_are_read_as_curl_reads_them(
    endpoint: str, environ: dict[str, str], proxy: str | None
) -> None:
    """Scheme, exceptions and loopback decide; capitals count except for HTTP_PROXY."""
    assert proxy_of(endpoint, environ) == proxy


def test_loopback_goes_through_a_proxy_only_when_that_was_asked_for_outright() -> None:
    """A profile's proxy is not for this host's own addresses; --proxy is."""
    assert proxy_of("http://127.0.0.1", {}, place="http://p:1") is None
    assert proxy_of("http://127.0.0.1", {}, forced="http://p:1") == "http://p:1"
    assert proxy_of("http://bp.example", BOTH, place="http://p:1") == "http://p:1"


@pytest.mark.parametrize("endpoint", ["ftp://x", "http://", "http://bp/path", "http://bp:99999"])
def test_an_address_that_is_none_names_the_place_it_stands_in(endpoint: str) -> None:
    """A wrong endpoint is an error before anything is sent, and says where it was read."""
    with pytest.raises(ConfigError, match="here"):
        proxy_of(endpoint, {})


def test_the_file_is_where_the_variable_says() -> None:
    """DS3TOOL_CONFIG moves the configuration file."""
    assert profiles.default_config_path({"DS3TOOL_CONFIG": "/x/y.toml"}) == Path("/x/y.toml")


@pytest.mark.parametrize(("asked", "answer"), [(0.0, 30.0), (5.0, 30.0), (100.0, 100.0), (900.0, 300.0)])
def test_one_answer_is_not_waited_for_longer_than_all_retries(asked: float, answer: float) -> None:
    """`--max-retry-time` bounds the wait for a byte too, down to what an appliance may hold a request for."""
    profile = Profile("here", endpoint="appliance", access_key="me", secret_key="secret")
    connection = resolve([profile], environ={}, max_retry_seconds=asked).connection
    assert (connection.io_timeout_seconds, connection.max_retry_seconds) == (answer, asked)
