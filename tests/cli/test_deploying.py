"""``deploy`` and ``rm``: plan, apply, nothing when nothing changed."""

from pathlib import Path

from fake_api import FakeApi, endpoint
from shell import Shell


def project(text: str = "name = 'mine'\ngpu = 'T4'") -> None:
    """Write a project into the working directory."""
    Path("coldspark.toml").write_text(text)
    Path("inference.py").write_text("def predict_fn(data): return data\n")


def test_deploy_shows_the_plan_uploads_and_applies(coldspark: Shell, api: FakeApi) -> None:
    """Once, with flags over the file's keys."""
    project()
    flags = ("--gpu", "A10G", "--max", "4", "--rule", "knative", "--env", "A=1", "--yes")
    ran = coldspark("deploy", ".", *flags)
    assert ran.code == 0
    definition = api.endpoints["mine"]["definition"]
    assert definition["gpu"] == "A10G"
    assert definition["scale"] == {"max": 4, "rule": "knative"}
    assert definition["environment"] == {"A": "1"}
    assert definition["code"] in api.artifacts
    assert "mine: create (2 files" in ran.err
    assert "uploading" in ran.err
    assert ran.out == ""


def test_an_unknown_rule_is_refused_with_the_nearest(coldspark: Shell, api: FakeApi) -> None:
    """Before anything is sent."""
    project()
    ran = coldspark("deploy", ".", "--rule", "knativ", "--yes")
    assert ran.code == 2
    assert "there is no rule 'knativ': did you mean 'knative'?" in ran.err
    assert api.asked == []


def test_deploying_the_same_again_changes_nothing(coldspark: Shell, api: FakeApi) -> None:
    """Declarative: no upload, no put."""
    project()
    coldspark("deploy", ".", "--yes")
    api.asked.clear()
    ran = coldspark("deploy", ".")
    assert ran.code == 0
    assert "mine is up to date" in ran.err
    assert [line.split("?")[0] for line in api.asked] == [
        "PUT /v1/endpoints/mine",
        "GET /v1/endpoints/mine",
    ]


def test_a_dry_run_changes_nothing(coldspark: Shell, api: FakeApi) -> None:
    """It shows what would."""
    project()
    ran = coldspark("deploy", ".", "--dry-run")
    assert ran.code == 0
    assert "gpu: - -> T4" in ran.err
    assert (api.endpoints, api.artifacts) == ({}, {})


def test_a_change_is_shown_and_the_code_is_not_sent_again(coldspark: Shell, api: FakeApi) -> None:
    """Artifacts are content-addressed."""
    project()
    coldspark("deploy", ".", "--yes")
    ran = coldspark("deploy", ".", "--yes", "--gpu", "A100")
    assert "gpu: T4 -> A100" in ran.err
    assert "uploading" not in ran.err


def test_json_prints_the_endpoint_alone(coldspark: Shell) -> None:
    """For scripts."""
    project()
    ran = coldspark("deploy", ".", "--json")
    assert ran.out.startswith("{")
    assert '"name": "mine"' in ran.out


def test_a_wrong_deploy_file_is_a_usage_error(coldspark: Shell, api: FakeApi) -> None:
    """Nothing is asked of the server; the message holds the cure."""
    project("gpuu = 'T4'")
    ran = coldspark("deploy", ".")
    assert ran.code == 2
    assert "did you mean 'gpu'?" in ran.err
    assert api.asked == []


def test_the_plan_writes_values_as_people_do(coldspark: Shell) -> None:
    """No Python in it, no bytes to count."""
    project("name = 'mine'\nmemory = '512MB'\n[scale]\nidle_timeout = '5m'")
    told = coldspark("deploy", ".", "--dry-run").err
    assert "  memory: - -> 512MB\n" in told
    assert "  scale: - -> idle_timeout_s = 300 s" in told
    assert "  handler: - -> program = inference.py" in told


def test_env_must_be_a_pair(coldspark: Shell) -> None:
    """``--env A`` says nothing."""
    project()
    assert coldspark("deploy", ".", "--env", "A").code == 2


def test_a_refusal_of_the_server_is_reported(coldspark: Shell, api: FakeApi) -> None:
    """Message, cure, exit code 1."""
    project()
    message = "T4 (14.5 GB usable) cannot hold 15 GB: the smallest type that does is A10G"
    api.replies["/v1/endpoints/mine"] = (503, {"error": {"code": "NoRoom", "message": message}})
    ran = coldspark("deploy", ".", "--yes")
    assert ran.code == 1
    assert ran.err == f"error: {message}\n  See what this machine has: coldspark doctor\n"


def test_wake_waits_for_a_replica(coldspark: Shell, api: FakeApi) -> None:
    """And tells how long it took."""
    project()
    ran = coldspark("deploy", ".", "--yes", "--wake")
    assert ran.code == 0
    assert "awake: 28.05 ms" in ran.err
    assert "GET /v1/endpoints/mine/invoke/ping" in api.asked
    assert "POST /v1/endpoints/mine/invoke" not in api.asked


def test_wake_tells_of_this_start_only(coldspark: Shell, api: FakeApi) -> None:
    """How an earlier revision ended is no news, and looks like a failure of this one."""
    project()
    ended = {"at_ms": 1, "replica": "r-0", "stream": "coldspark", "text": "ended: import error"}
    api.replies["/v1/endpoints/mine/logs"] = (200, {"lines": [ended]})
    ran = coldspark("deploy", ".", "--yes", "--wake")
    assert "awake" in ran.err
    assert "ended" not in ran.err


def test_the_plan_says_when_a_list_is_emptied(coldspark: Shell, api: FakeApi) -> None:
    """An arrow to nothing reads as an accident."""
    project()
    change = {"field": "handler.requirements", "old": ["numpy"], "new": []}
    api.replies["/v1/endpoints/mine"] = (200, {"action": "update", "changes": [change]})
    assert "requirements: numpy -> -\n" in coldspark("deploy", ".", "--dry-run").err


def test_wake_of_a_command_asks_its_ping_path(coldspark: Shell, api: FakeApi) -> None:
    """No request of the user's own kind is made up."""
    project("name = 'mine'\ncommand = 'python x.py'\nping_path = '/health'")
    assert coldspark("deploy", ".", "--yes", "--wake").code == 0
    assert "GET /v1/endpoints/mine/invoke/health" in api.asked


def test_a_start_that_fails_shows_the_log(coldspark: Shell, api: FakeApi) -> None:
    """The root cause is in its last lines."""
    project()
    error = {
        "code": "StartFailed",
        "message": "model file missing",
        "log_tail": ["Traceback", "FileNotFoundError: model.bin"],
    }
    api.replies["/v1/endpoints/mine/invoke/ping"] = (502, {"error": error})
    ran = coldspark("deploy", ".", "--yes", "--wake")
    assert ran.code == 1
    assert "error: model file missing\n  | Traceback\n  | FileNotFoundError: model.bin" in ran.err


def test_rm_deletes(coldspark: Shell, api: FakeApi) -> None:
    """What does not exist is an error."""
    api.endpoints["mine"] = endpoint("mine")
    assert coldspark("rm", "mine", "--yes").code == 0
    assert api.endpoints == {}
    ran = coldspark("rm", "mine", "--yes")
    assert ran.code == 1
    assert "no endpoint 'mine'" in ran.err
