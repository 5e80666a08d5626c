"""Deploy files: every way to write one, and what a misspelt one is told."""

from pathlib import Path
from typing import Any

import pytest

from coldspark.errors import InvalidRequest
from coldspark.sdk.project import read_project

EXAMPLES = Path(__file__).parents[2] / "examples"


def project(tmp_path: Path, text: str, *names: str, file: str = "coldspark.toml") -> Path:
    """Write a project directory called ``my_model``."""
    root = tmp_path / "my_model"
    root.mkdir()
    (root / file).write_text(text)
    for name in names:
        (root / name).write_text("")
    return root


def test_a_handler_is_found_without_any_file(tmp_path: Path) -> None:
    """``inference.py`` on CPU, under the directory's name."""
    root = project(tmp_path, "", file="inference.py")
    (root / "requirements.txt").write_text("# pinned\nnumpy==2.4  # arrays\n\n")
    found = read_project(root)
    assert found.name == "my-model"
    assert found.definition == {
        "handler": {"program": "inference.py", "requirements": ["numpy==2.4"], "overrides": []}
    }


def test_windows_are_tables(tmp_path: Path) -> None:
    """Under the names of the API, durations in seconds."""
    root = project(
        tmp_path,
        """
        [scale]
        max = 4
        [[scale.windows]]
        cron = "0 8 * * MON-FRI"
        time_zone = "Europe/Berlin"
        lasts = "10h"
        min = 2
        max = 8
        [[scale.windows]]
        cron = "0 0 * * *"
        lasts = 90
        min = 0
        """,
        "inference.py",
    )
    assert read_project(root).definition["scale"]["windows"] == [
        {
            "cron": "0 8 * * MON-FRI",
            "time_zone": "Europe/Berlin",
            "lasts_s": 36_000.0,
            "min": 2,
            "max": 8,
        },
        {"cron": "0 0 * * *", "lasts_s": 90.0, "min": 0},
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('windows = "always"', r"write each as \[\[scale.windows\]\]"),
        ('windows = [{cron = "0 8 * * *", min = 1}]', "needs lasts"),
        ('windows = [{cron = "0 8 * * *", lasts = "1h", min = 1, mx = 2}]', "mx"),
        ('windows = [{cron = "0 8 * * *", lasts = "long", min = 1}]', "long"),
    ],
)
def test_a_window_that_cannot_be_read_is_reported(tmp_path: Path, text: str, told: str) -> None:
    """With the key and the cure."""
    root = project(tmp_path, f"[scale]\n{text}\n", "inference.py")
    with pytest.raises(InvalidRequest, match=told):
        read_project(root)


def test_everything_can_be_said(tmp_path: Path) -> None:
    """Sizes become bytes, durations seconds."""
    root = project(
        tmp_path,
        """
        name = "chat"
        command = "python serve.py --fast"
        ping_path = "/health"
        invoke_path = "/v1/chat/completions"
        park_path = "/sleep?level=1"
        unpark_path = "/wake_up"
        requirements = ["a==1"]
        model = "s3://bucket/key"
        gpu = ["L4", "A10G"]
        gpu_memory = "15GB"
        memory = "2GiB"
        vcpus = 2
        [scale]
        min = 1
        max = 4
        concurrency = 2
        idle_timeout = "5m"
        [limits]
        request_timeout = "10m"
        body = "1MB"
        [environment]
        A = 1
        DEBUG = true
        [server]
        port = 1
        """,
    )
    assert read_project(root).definition == {
        "command": {
            "argv": ["python", "serve.py", "--fast"],
            "ping_path": "/health",
            "invoke_path": "/v1/chat/completions",
            "park_path": "/sleep?level=1",
            "unpark_path": "/wake_up",
            "requirements": ["a==1"],
            "overrides": [],
        },
        "model": "s3://bucket/key",
        "gpu": "L4,A10G",
        "gpu_memory": 15 * 10**9,
        "memory": 2 * 2**30,
        "vcpus": 2.0,
        "scale": {"min": 1, "max": 4, "concurrency": 2, "idle_timeout_s": 300.0},
        "limits": {"request_timeout_s": 600.0, "body_bytes_max": 10**6},
        "environment": {"A": "1", "DEBUG": "true"},
    }


def test_batching_is_asked_for_in_words(tmp_path: Path) -> None:
    """The wait is a duration, in seconds at the API."""
    root = project(tmp_path, "[scale]\nbatch_size = 16\nbatch_wait = '5ms'", "inference.py")
    assert read_project(root).definition["scale"] == {"batch_size_max": 16, "batch_wait_s": 0.005}


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("'knative'", "knative"),
        ("{name = 'knative'}", "knative"),
        ("{name = 'keep-alive', keep = '10m'}", "keep-alive"),
        ("{name = 'keep-alive', keep = '5m'}", {"name": "keep-alive", "keep_s": 300.0}),
        ("{name = 'request-count', requests = 2}", {"requests": 2.0, "idle_s": 5.0}),
    ],
)
def test_a_rule_is_a_name_or_a_table(tmp_path: Path, text: str, asked: Any) -> None:
    """Durations become seconds; what says no more than its name is its name."""
    definition = read_project(
        project(tmp_path, f"[scale]\nrule = {text}", "inference.py")
    ).definition
    if isinstance(asked, dict):
        asked = {"name": "request-count"} | asked
    assert definition["scale"] == {"rule": asked}


def test_flags_win_over_the_file_key_by_key(tmp_path: Path) -> None:
    """``--max 9`` leaves the file's idle timeout as it is."""
    root = project(
        tmp_path, "[scale]\nmax = 4\nidle_timeout = 60\n[environment]\nA = 'file'", "inference.py"
    )
    changes: dict[str, Any] = {"scale": {"max": 9}, "environment": {"B": "flag"}, "gpu": "T4"}
    definition = read_project(root, changes).definition
    assert definition["scale"] == {"max": 9, "idle_timeout_s": 60.0}
    assert definition["environment"] == {"A": "file", "B": "flag"}
    assert definition["gpu"] == "T4"


def test_a_change_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    """``{"scale.max": 1}`` once did nothing, and said nothing."""
    root = project(tmp_path, "", "inference.py")
    with pytest.raises(InvalidRequest, match=r"'scale.max': did you mean 'scale'\?"):
        read_project(root, {"scale.max": 1})


def test_pyproject_may_hold_it(tmp_path: Path) -> None:
    """Under ``[tool.coldspark]``."""
    root = project(
        tmp_path, "[tool.coldspark]\nname = 'shared'", "inference.py", file="pyproject.toml"
    )
    assert read_project(root).name == "shared"


def test_one_file_carries_its_own_metadata(tmp_path: Path) -> None:
    """Inline script metadata: dependencies become requirements."""
    file = tmp_path / "answer.py"
    file.write_text(
        "# /// script\n"
        '# dependencies = ["numpy==2.4"]\n'
        "#\n"
        "# [tool.coldspark]\n"
        '# gpu = "A10G"\n'
        "# ///\n"
        "def predict_fn(data): return data\n"
    )
    found = read_project(file)
    assert found.name == "answer"
    assert found.definition["gpu"] == "A10G"
    assert found.definition["handler"] == {
        "program": "answer.py",
        "requirements": ["numpy==2.4"],
        "overrides": [],
    }


def test_a_model_directory_is_meant_relative_to_the_project(tmp_path: Path) -> None:
    """A bare path becomes a file address."""
    root = project(tmp_path, "model = 'weights'", "inference.py")
    (root / "weights").mkdir()
    assert read_project(root).definition["model"] == (root / "weights").as_uri()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpuu = 'T4'", "has no key 'gpuu': did you mean 'gpu'?"),
        ("[scale]\nmaximum = 1", "has no key 'maximum': did you mean 'max'?"),
        ("[limits]\ntimeout = 1", "did you mean"),
        ("memory = 'much'", "write such as 15GB"),
        ("[scale]\nidle_timeout = 'soon'", "write such as 60s"),
        ("command = ['x']\nhandler = 'y.py'", "not both"),
        ("command = []", "must be words"),
        ("handler = 'none.py'", "does not exist"),
        ("handler = 'inference.py'\nping_path = '/p'", "belongs to a command"),
        ("handler = 'inference.py'\npark_path = '/p'", "belongs to a command"),
        ("requirements = 'other.txt'", "other.txt does not exist"),
        ("model = 'nowhere'", "nowhere"),
        ("scale = 3", "scale"),
        ("[scale]\nrule = 'knativ'", "there is no rule 'knativ': did you mean 'knative'?"),
        ("[scale]\nrule = 7", "must be a name, or a table with one"),
        ("[scale]\nrule = {name = 'knative', tarket = 1}", "did you mean 'target'?"),
        ("[scale]\nrule = {name = 'knative', target = 9}", "target=9 must lie in 0.01..1"),
        ("[scale]\nrule = {name = 'knative', target = 'x'}", "Expected `float`, got `str`"),
        ("[scale]\nrule = {name = 'keep-alive', keep = 'x'}", "write such as 60s"),
        ("name", "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_with_its_cure(tmp_path: Path, text: str, words: str) -> None:
    """Strict: nothing is silently ignored."""
    with pytest.raises(InvalidRequest) as refusal:
        read_project(project(tmp_path, text, "inference.py"))
    assert words in refusal.value.message


def test_nothing_to_run_is_reported_what_to_write(tmp_path: Path) -> None:
    """An empty directory, a file that is no program, a path that is not there."""
    (tmp_path / "notes.txt").write_text("")
    for source, words in (
        (tmp_path, "nothing says what to run"),
        (tmp_path / "notes.txt", "is not a .py file"),
        (tmp_path / "none", "does not exist"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            read_project(source)


@pytest.mark.parametrize("name", ["chat", "embed", "minilm"])
def test_every_example_is_a_project(name: str) -> None:
    """They are read as they are deployed."""
    found = read_project(EXAMPLES / name)
    assert found.name == name
    (kind,) = {"handler", "command"} & set(found.definition)
    assert found.definition[kind]["requirements"]
