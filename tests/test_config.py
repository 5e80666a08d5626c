"""The server's configuration: precedence, units, misspelt keys, secrets."""

from pathlib import Path

import pytest

from coldspark.config import (
    AWS_LIMITS,
    NO_LIMITS,
    S3,
    AwsLimits,
    Image,
    ServerConfig,
    load_server,
    shown,
)
from coldspark.errors import InvalidRequest
from coldspark.spec.types import MIB


def write(tmp_path: Path, text: str) -> Path:
    """Write a configuration file."""
    file = tmp_path / "coldspark.toml"
    file.write_text(text)
    return file


def test_defaults_are_loopback_and_a_marked_assumption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing configured: state under the home, this machine alone, an assumed cost."""
    monkeypatch.chdir(tmp_path)
    config = load_server({}, environ={"XDG_DATA_HOME": "/share"})
    assert config.data == Path("/share/coldspark")
    assert (config.host, config.port, config.is_loopback) == ("127.0.0.1", 7117, True)
    assert config.machine_cost.nanos_per_hour == 760_000_000
    assert config.machine_cost.assumption is not None
    assert config.machine_cost.assumption.startswith("assumed: this machine costs $0.76 an hour")


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    """Each layer changes only what it names."""
    file = write(
        tmp_path,
        """
        [server]
        port = 1
        host = "0.0.0.0"
        body_limit = "1MiB"
        drain_timeout = "1m"
        machine_cost_per_hour = 0.36
        [server.s3]
        region = "eu-west-1"
        """,
    )
    environ = {
        "COLDSPARK_PORT": "2",
        "COLDSPARK_HOST": "::1",
        "COLDSPARK_DATA": "/d",
        "COLDSPARK_S3_ENDPOINT_URL": "http://localhost:9000",
        "COLDSPARK_S3_ALLOW_HTTP": "true",
        "COLDSPARK_URL": "for the client, not for us",
    }
    config = load_server({"port": 3, "simulate": None}, file=file, environ=environ)
    assert (config.port, config.host, config.data) == (3, "::1", Path("/d"))
    assert (config.body_bytes_max, config.drain_timeout_s) == (1024**2, 60.0)
    assert config.machine_cost.nanos_per_hour == 360_000_000
    assert config.machine_cost.assumption is None
    assert config.s3.options() == {
        "endpoint": "http://localhost:9000",
        "region": "eu-west-1",
        "allow_http": "true",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nprot = 1", "has no key 'prot': did you mean 'port'?"),
        ("[server.s3]\nendpiont_url = 'x'", "did you mean 'endpoint_url'?"),
        ("[server]\nport = 'many'", "port"),
        ("[server]\nport = 70000", "must lie in 0..65535"),
        ("[server]\nbody_limit = 'large'", "write such as 15GB"),
        ("[server]\nmachine_cost_per_hour = 'free'", "dollars such as 0.76"),
        ("[server]\nmachine_cost_per_hour = -1", "must not be negative"),
        ("[server]\nlog_level = 'loud'", "debug, info"),
        ("[server.images]\n'a*' = 'handler'", "'a*' must be a table, such as { handler"),
        ("[server.images]\n'a*' = {comand = 'x'}", "did you mean 'command'?"),
        ("[server.images]\n'a*' = {command = \"a 'b\"}", "cannot be split"),
        ("[server.images]\n'a*' = {command = 'a', handler = 'b.py'}", "name one"),
        ("[server.images]\n'a*' = {ping_path = '/up'}", "need a command"),
        ("[server", "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_with_its_cure(tmp_path: Path, text: str, words: str) -> None:
    """Strict: a misspelt key is never silently ignored."""
    with pytest.raises(InvalidRequest) as refusal:
        load_server({}, file=write(tmp_path, text), environ={})
    assert words in refusal.value.message


def test_images_keep_their_order(tmp_path: Path) -> None:
    """The first pattern that fits counts."""
    text = """
        [server.images]
        "team/ner:2" = { handler = "old.py", requirements = ["torch"] }
        "team/*" = { command = "python server.py", ping_path = "/health" }
        """
    config = load_server({}, file=write(tmp_path, text), environ={"COLDSPARK_IMAGES": "no"})
    assert list(config.images) == ["team/ner:2", "team/*"]
    assert config.images["team/ner:2"] == Image(handler="old.py", requirements=("torch",))
    assert config.images["team/*"].argv == ("python", "server.py")


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    """The one of the working directory need not."""
    with pytest.raises(InvalidRequest, match="cannot be read"):
        load_server({}, file=tmp_path / "none.toml", environ={})


def test_secrets_are_never_shown() -> None:
    """Neither by printing nor by repr."""
    config = ServerConfig(data=Path("/d"), s3=S3(secret_access_key="hush"))
    assert "hush" not in repr(config) + str(shown(config))


def test_a_bound_on_weights_needs_a_single_router() -> None:
    """No router knows what the others' replicas run on."""
    with pytest.raises(InvalidRequest, match="weights_limit=5 needs routers=1, not 2"):
        load_server({"weights_limit": "5", "routers": 2}, environ={})


def test_strict_aws_sets_what_is_not_set_otherwise(tmp_path: Path) -> None:
    """Off by default; each limit may be another, with and without it."""
    assert load_server({}, environ={}).aws_limits == NO_LIMITS
    assert load_server({"strict_aws": True}, environ={}).aws_limits == AWS_LIMITS
    file = tmp_path / "coldspark.toml"
    file.write_text(
        '[server]\nretry_grace = "20s"\n[server.aws]\nserverless_body_limit = "10MiB"\n'
        'request_timeout = "2m"\nmemory_limit = "12GiB"\n'
    )
    environ = {"COLDSPARK_AWS_CONCURRENCY_LIMIT": "500", "COLDSPARK_STRICT_AWS": "true"}
    config = load_server({}, file=file, environ=environ)
    assert config.retry_grace_s == 20.0
    assert config.aws_limits == AwsLimits(
        serverless_body_bytes_max=10 * MIB,
        realtime_body_bytes_max=6 * MIB,
        request_timeout_s=120.0,
        memory_mb_max=12_288,
        concurrency_max=500,
    )
    with pytest.raises(InvalidRequest, match=r"retry_grace=700 s must lie in 0\.\.600 s"):
        load_server({"retry_grace": "700s"}, environ={})
    with pytest.raises(InvalidRequest, match="concurrency_max=0 must be positive"):
        load_server({}, environ={"COLDSPARK_AWS_CONCURRENCY_LIMIT": "0"})


def test_a_relative_data_directory_is_made_absolute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every router and replica finds it, wherever it stands."""
    monkeypatch.chdir(tmp_path)

    assert load_server({"data": "here"}, file=None).data == tmp_path / "here"
