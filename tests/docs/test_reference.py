"""The reference is complete: what the code has is on its page, with the same values."""

import json
import re
import shlex

import aws_page
import pytest
from cli_page import PAGE, commands, examples, group, render
from doc_pages import ROOT, blocks

from coldspark import config, errors
from coldspark.doors.aws.sagemaker import model_env
from coldspark.doors.aws.sagemaker.runtime.replies import error_reply
from coldspark.doors.native.operations import OPERATIONS
from coldspark.doors.native.shapes import LimitsBody, ScaleBody, WindowBody
from coldspark.doors.openai.errors import error_json
from coldspark.doors.openai.invocations import PATHS
from coldspark.sdk import project
from coldspark.spec.scaling_rules import RULES, Rule, rule_name, setting_names
from coldspark.spec.types import RootCause
from coldspark.spec.units import parse_duration, parse_size

REFERENCE = ROOT / "docs/reference"
CODES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.ColdsparkError)
]


def rows(name: str) -> list[list[str]]:
    """Return the cells of all table rows of a page, without backquotes."""
    lines = (REFERENCE / name).read_text(encoding="utf-8").splitlines()
    cells = (re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|"))
    return [[cell.strip().replace("`", "") for cell in row] for row in cells]


def row(name: str, first: str, *, width: int) -> list[str]:
    """Return the row of ``width`` cells whose first cell this is."""
    found = [cells for cells in rows(name) if cells[0] == first and len(cells) == width]
    assert len(found) == 1, f"{name}: {first} has {len(found)} rows"
    return found[0]


def test_the_command_lines_page_is_what_the_command_line_says() -> None:
    """It is generated: never edit it by hand."""
    assert PAGE.read_text(encoding="utf-8") == render(), "stale: run `make docs`"


def test_the_page_of_awss_apis_is_what_the_doors_say() -> None:
    """It is generated: never edit it by hand. What is kept is what the overlays say."""
    text = aws_page.PAGE.read_text(encoding="utf-8")
    assert text == aws_page.render(), "stale: run `make docs`"
    assert "| `ExecutionRoleArn` | kept |" in text


@pytest.mark.parametrize(("words", "command"), list(commands(group(), "coldspark")))
def test_examples_of_help_can_be_typed(words: str, command: object) -> None:
    """Every example parses: its options exist and its arguments are enough."""
    for line in examples(command):  # type: ignore[arg-type]
        mine = line.split(words, 1)[1].split(" | ")[0].removesuffix(" &")
        typed = shlex.split(mine)
        command.make_context(words, typed)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.code)
def test_an_error_is_on_its_page_with_the_words_of_every_door(
    kind: type[errors.ColdsparkError],
) -> None:
    """Code, status, SageMaker's and OpenAI's words; meaning and cure are not empty."""
    status, aws, openai, meaning, cure = row("errors.md", kind.code, width=6)[1:]
    headers = dict(error_reply(kind("why"))[1])
    said = json.loads(error_json(kind("why")))["error"]["code"]
    assert (status, aws, openai) == (str(kind.http_status), headers["x-amzn-errortype"], said)
    assert meaning.endswith(".")
    assert cure.endswith(".")


def test_no_error_is_on_the_page_that_the_code_does_not_have() -> None:
    """A code that went must go there too."""
    written = {cells[0] for cells in rows("errors.md") if len(cells) == 6} - {"code", "---"}
    assert written == {kind.code for kind in CODES}


def test_every_rest_route_has_its_heading_and_a_curl() -> None:
    """A heading names methods and path; the block that follows calls the path."""
    text = (REFERENCE / "rest.md").read_text(encoding="utf-8")
    headed = {
        (method, heading.split()[-1])
        for heading in re.findall(r"(?m)^### `(.+)`$", text)
        for method in heading.split()[:-1]
    }
    assert headed == {(operation.method, operation.path) for operation in OPERATIONS}
    sections = [part for part in re.split(r"(?m)^(?=### )", text) if part.startswith("### ")]
    assert [part.splitlines()[0] for part in sections if "curl " not in part] == []
    assert [path for path in PATHS if f"POST {path}" not in text] == []


@pytest.mark.parametrize("key", config._file_keys(config.ServerConfig))
def test_a_server_key_is_on_its_page(key: str) -> None:
    """With its variable."""
    if key in ("s3", "aws", "webhooks", "images"):
        assert f"### `[server.{key}]`" in (REFERENCE / "configuration.md").read_text()
    else:
        assert row("configuration.md", key, width=5)[1] == f"COLDSPARK_{key.upper()}"


@pytest.mark.parametrize("key", config._file_keys(config.AwsLimits))
def test_a_limit_of_awss_is_on_its_page(key: str) -> None:
    """With its variable."""
    assert row("configuration.md", key, width=4)[1] == f"COLDSPARK_AWS_{key.upper()}"


@pytest.mark.parametrize("key", config._file_keys(config.Image))
def test_a_key_of_an_image_is_on_its_page(key: str) -> None:
    """In the table of what a pattern may say."""
    text = (REFERENCE / "configuration.md").read_text(encoding="utf-8")
    section = text.split("### `[server.images]`")[1].split("## Clients")[0]
    assert f"| `{key}` |" in section


@pytest.mark.parametrize("key", config._file_keys(config.S3))
def test_an_s3_key_is_on_its_page(key: str) -> None:
    """With its variable."""
    assert row("configuration.md", key, width=4)[1] == f"COLDSPARK_S3_{key.upper()}"


def test_every_flag_of_up_is_on_the_configuration_page() -> None:
    """Those that are not in its table have no key in a file."""
    flags = {option for p in group().commands["up"].params for option in p.opts}
    text = (REFERENCE / "configuration.md").read_text()
    assert [flag for flag in flags if f"`{flag}`" not in text] == []


def test_every_key_of_a_deploy_file_is_on_its_page_and_in_its_example() -> None:
    """Tables have sections of their own."""
    text = (REFERENCE / "configuration.md").read_text()
    for key in project._KEYS:
        if key in ("scale", "limits", "environment"):
            assert f"### `[{key}]`" in text
        else:
            assert row("configuration.md", key, width=3)
    example = next(
        b for b in blocks("docs/reference/configuration.md") if b.note.startswith("file")
    )
    assert {"[scale]", "[limits]", "[environment]"} <= set(example.text.splitlines())


SCALE = {"min": "min", "max": "max", "concurrency": "concurrency"} | {
    "batch_size": "batch_size_max",
    "batch_wait": "batch_wait_s",
    "idle_timeout": "idle_timeout_s",
    "park_timeout": "park_timeout_s",
    "warmth": "warmth",
    "wait_value": "wait_value",
    "patience": "patience_s",
    "rule": "rule",
    "waste_budget": "waste_budget",
    "failed_starts": "failed_starts_max",
    "windows": "windows",
}
WINDOW = {"cron": "cron", "time_zone": "time_zone", "lasts": "lasts_s", "min": "min", "max": "max"}
LEARNED = {"idle_timeout", "park_timeout", "warmth", "patience"}
"""Their default is ``auto``: None in the code."""
DERIVED = {"concurrency", "batch_wait"}
"""Their defaults follow from another key."""
LIMITS = {
    "request_timeout": "request_timeout_s",
    "start_timeout": "start_timeout_s",
    "stop_grace": "stop_grace_s",
    "body": "body_bytes_max",
    "queue": "queue_max",
    "queue_bytes": "queue_bytes_max",
    "log_bytes": "log_bytes_max",
    "processes": "processes_max",
}


@pytest.mark.parametrize(
    ("key", "default"),
    [
        *(
            (key, getattr(ScaleBody(), name))
            for key, name in SCALE.items()
            if key not in LEARNED | DERIVED | {"rule", "windows"}
        ),
        *((key, getattr(LimitsBody(), name)) for key, name in LIMITS.items()),
    ],
)
def test_a_default_on_the_page_is_the_codes(key: str, default: float) -> None:
    """The page writes it for people, the code in seconds and bytes."""
    written = row("configuration.md", key, width=3)[1]
    is_size = written.endswith("B")
    assert (parse_size(written) if is_size else parse_duration(written)) == default


@pytest.mark.parametrize("key", sorted(LEARNED))
def test_what_is_learned_unless_it_is_said_is_auto(key: str) -> None:
    """A file may say so, too."""
    assert row("configuration.md", key, width=3)[1] == "auto"
    assert getattr(ScaleBody(), SCALE[key]) is None
    assert project._scale({key: "auto"}) == {SCALE[key]: None}


def test_scale_and_limits_have_the_keys_that_a_file_may_hold() -> None:
    """A new key needs its row."""
    words = {"warmth": "ready", "rule": "learned", "windows": [dict.fromkeys(WINDOW, 1)]}
    assert set(project._scale(dict.fromkeys(SCALE, 1) | words)) == set(SCALE.values())
    assert set(project._limits(dict.fromkeys(LIMITS, 1))) == set(LIMITS.values())
    assert set(ScaleBody.__struct_fields__) == set(SCALE.values())
    assert set(LimitsBody.__struct_fields__) == set(LIMITS.values())
    assert set(WindowBody.__struct_fields__) == set(WINDOW.values())
    assert all(row("configuration.md", key, width=2) for key in WINDOW)


def test_the_default_rule_is_on_its_page() -> None:
    """By its name."""
    assert row("configuration.md", "rule", width=3)[1] == ScaleBody().rule


@pytest.mark.parametrize("kind", RULES, ids=rule_name)
def test_every_rule_has_its_section_with_its_settings(kind: type[Rule]) -> None:
    """As a file writes them, with the code's defaults."""
    text = (REFERENCE / "scaling-rules.md").read_text(encoding="utf-8")
    _, heading, rest = text.partition(f"## `{rule_name(kind)}`\n")
    assert heading
    lines = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    cells = [[cell.strip().strip("`") for cell in line.split("|")[1:3]] for line in lines]
    written = {key: parse_duration(default) for key, default in cells}
    settings = setting_names(kind)
    assert written == {key.removesuffix("_s"): getattr(kind(), key) for key in settings}


def test_every_root_cause_is_told_with_what_to_do() -> None:
    """It stands in the message that a caller gets, so it must be found."""
    text = (ROOT / "docs/howto/debug-a-failed-start.md").read_text(encoding="utf-8")
    assert [cause.value for cause in RootCause if f"| `{cause.value}` |" not in text] == []


def test_every_variable_that_a_sagemaker_model_may_set_is_told() -> None:
    """An unknown one is refused, so the known ones must be found."""
    text = (ROOT / "docs/howto/use-boto3.md").read_text(encoding="utf-8")
    assert [name for name in model_env._KNOWN if f"| `{name}` |" not in text] == []
