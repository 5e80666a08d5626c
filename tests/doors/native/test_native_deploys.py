"""Deploying over the native API: declarative, planned, and strict about what it reads."""

import hashlib
from typing import Any

import httpx
import pytest
from fake_services import Rig
from native_client import CHURN, served

from coldspark.errors import NoRoom

pytestmark = pytest.mark.seconds


def test_deploying_is_declarative() -> None:
    """Created, then unchanged, then changed: said by status and by a field."""

    async def body(client: httpx.AsyncClient) -> None:
        made = await client.put("/v1/endpoints/churn", json=CHURN)
        same = await client.put("/v1/endpoints/churn", json=CHURN)
        changed = await client.put("/v1/endpoints/churn", json=CHURN | {"vcpus": 2})
        assert [one.status_code for one in (made, same, changed)] == [201, 200, 200]
        assert [one.json()["unchanged"] for one in (made, same, changed)] == [False, True, False]
        shown = (await client.get("/v1/endpoints/churn")).json()
        assert shown["variants"][0]["gpu"] == "A10G"
        assert shown["variants"][0]["vcpus"] == 2
        assert shown["variants"][0]["scale"]["max"] == 4
        assert shown["variants"][0]["replicas"][0]["devices"] == ["A10G (simulated)"]
        listed = (await client.get("/v1/endpoints")).json()
        assert [one["name"] for one in listed["endpoints"]] == ["churn"]
        assert (await client.delete("/v1/endpoints/churn")).status_code == 204
        gone = await client.delete("/v1/endpoints/churn")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "NotFound")

    served(Rig(), body)


def test_what_is_shown_can_be_deployed_again_and_changes_nothing() -> None:
    """The reply's variant has the names of the request's fields."""

    async def body(client: httpx.AsyncClient) -> None:
        command = {
            "argv": ["python", "serve.py"],
            "ping_path": "/health",
            "park_path": "/sleep?level=1",
            "unpark_path": "/wake_up",
        }
        asked = {
            "command": command,
            "gpu": "L4,A10G",
            "memory": "2GB",
            "gpu_memory": "15GB",
            "environment": {"B": "1", "A": "2"},
            "scale": {
                "max": 3,
                "rule": {"name": "knative", "target": 1},
                "windows": [{"cron": "0 8 * * *", "lasts_s": 3600, "min": 2}],
            },
            "limits": {"request_timeout_s": 5},
            "model": "s3://bucket/key",
        }
        made = await client.put("/v1/endpoints/chat", json=asked)
        assert made.status_code == 201, made.text
        variant = made.json()["variants"][0]
        state = ("status", "failure", "queued", "revision", "replicas", "decisions", "warmth")
        state += ("floor",)
        again = {name: value for name, value in variant.items() if name not in state}
        assert (await client.put("/v1/endpoints/chat", json=again)).json()["unchanged"]

    served(Rig(), body)


@pytest.mark.parametrize(
    ("asked", "slots"),
    [
        ({}, 1),
        ({"concurrency": 3}, 3),
        ({"batch_size_max": 8}, 16),
        ({"batch_size_max": 8, "concurrency": 8}, 8),
    ],
)
def test_slots_follow_from_the_batch_size_unless_they_are_given(
    asked: dict[str, int], slots: int
) -> None:
    """Two batches: one is computed while the next comes together."""

    async def body(client: httpx.AsyncClient) -> None:
        await client.put("/v1/endpoints/churn", json={"handler": "a.py", "scale": asked})
        scale = (await client.get("/v1/endpoints/churn")).json()["variants"][0]["scale"]
        assert scale["concurrency"] == slots
        assert scale["batch_size_max"] == asked.get("batch_size_max", 1)
        assert scale["batch_wait_s"] is None

    served(Rig(), body)


def test_a_dry_run_says_what_would_change_and_changes_nothing() -> None:
    """Create, update with the fields that differ, unchanged."""

    async def body(client: httpx.AsyncClient) -> None:
        dry = {"dry_run": "true"}
        made = (await client.put("/v1/endpoints/churn", json=CHURN, params=dry)).json()
        assert made["action"] == "create"
        assert {"field": "gpu", "old": None, "new": "A10G"} in made["changes"]
        assert {"field": "scale.max", "old": None, "new": 4} in made["changes"]
        assert all(one["field"] != "memory" for one in made["changes"])
        assert (await client.get("/v1/endpoints/churn")).status_code == 404
        await client.put("/v1/endpoints/churn", json=CHURN)
        other = CHURN | {"scale": {"max": 2}, "environment": {"A": "1"}}
        plan = (await client.put("/v1/endpoints/churn", json=other, params=dry)).json()
        assert plan["action"] == "update"
        assert plan["changes"] == [
            {"field": "scale.max", "old": 4, "new": 2},
            {"field": "environment.A", "old": None, "new": "1"},
        ]
        same = (await client.put("/v1/endpoints/churn", json=CHURN, params=dry)).json()
        assert same == {"action": "unchanged", "changes": [], "warnings": []}

    served(Rig(), body)


def test_a_dry_run_refuses_what_the_deploy_would_refuse() -> None:
    """In the same words; what is deployed as it is needs no room anew."""

    async def body(client: httpx.AsyncClient) -> None:
        await client.put("/v1/endpoints/old", json=CHURN)
        rig.platform.refusal = NoRoom("variant main: no node has A100", field="gpu")
        dry = await client.put("/v1/endpoints/churn", json=CHURN, params={"dry_run": "true"})
        real = await client.put("/v1/endpoints/churn", json=CHURN)
        assert dry.status_code == real.status_code == 503
        assert dry.json()["error"]["message"] == real.json()["error"]["message"]
        same = await client.put("/v1/endpoints/old", json=CHURN, params={"dry_run": "true"})
        assert same.json()["action"] == "unchanged"

    rig = Rig()
    served(rig, body)


def test_several_variants_have_their_own_fields() -> None:
    """A plan names the variant."""

    async def body(client: httpx.AsyncClient) -> None:
        one = {"name": "one", "handler": "a.py", "weight": 3}
        two = {"name": "two", "command": ["./serve"], "weight": 1}
        made = await client.put("/v1/endpoints/ab", json={"variants": [one, two]})
        assert [v["weight"] for v in made.json()["variants"]] == [3, 1]
        changed = {"variants": [one | {"weight": 1}, two]}
        plan = await client.put("/v1/endpoints/ab", json=changed, params={"dry_run": 1})
        assert plan.json()["changes"] == [{"field": "variants.one.weight", "old": 3.0, "new": 1.0}]
        both = await client.put("/v1/endpoints/ab", json={"variants": [one], "gpu": "A10G"})
        assert (both.status_code, both.json()["error"]["field"]) == (400, "variants")

    served(Rig(), body)


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        ({"handler": "a.py", "gpus": "A10G"}, "gpus", "did you mean 'gpu'?"),
        ({"handler": "a.py", "scale": {"maxx": 1}}, "scale.maxx", "did you mean 'max'?"),
        (
            {"variants": [{"handler": "a.py", "limits": {"queue": 1}}]},
            "variants[0].limits.queue",
            "did you mean 'queue_max'?",
        ),
        ({"handler": "a.py", "scale": {"max": "4"}}, "scale.max", "Expected `int`, got `str`"),
        (
            {"handler": "a.py", "scale": {"rule": "rayserve"}},
            "scale.rule",
            "did you mean 'ray-serve'?",
        ),
        (
            {"handler": "a.py", "scale": {"rule": {"name": "knative", "paanic_s": 6}}},
            "scale.rule",
            "did you mean 'panic_s'?",
        ),
        (
            {"handler": "a.py", "scale": {"rule": "knative", "wait_value": 3}},
            "scale",
            "wait_value=3 does nothing with rule=knative",
        ),
        (
            {"handler": "a.py", "scale": {"patience_s": -1}},
            "scale",
            "patience_s=-1 must lie in 0..86400",
        ),
        ({"handler": "a.py", "scale": {"min": 3}}, "scale", "replicas_min=3 must lie in 0..1"),
        (
            {
                "handler": "a.py",
                "scale": {"windows": [{"cron": "0 25 * * *", "lasts_s": 60, "min": 1}]},
            },
            "scale.windows",
            "cron='0 25 * * *': the hour cannot be read",
        ),
        (
            {
                "handler": "a.py",
                "scale": {
                    "windows": [{"cron": "0 8 * * *", "time_zone": "Mars", "lasts_s": 60, "min": 1}]
                },
            },
            "scale.windows",
            "time_zone='Mars' is not known",
        ),
        (
            {
                "handler": "a.py",
                "scale": {"windows": [{"cron": "0 8 * * *", "lasts_s": 60, "min": 2}]},
            },
            "scale",
            "min=2 is over max=1: give the window a max",
        ),
        (
            {"handler": "a.py", "scale": {"batch_size_max": 16, "concurrency": 4}},
            "scale",
            "concurrency=4 lets no batch of batch_size=16 come together: set it to 16 or more",
        ),
        (
            {"handler": "a.py", "scale": {"batch_wait_s": 0.005}},
            "scale",
            "batch_wait=0.005 s does nothing without batch_size",
        ),
        (
            {"handler": "a.py", "scale": {"batch_size_max": 501}},
            "scale",
            "batch_size=501 must lie in 1..500",
        ),
        (
            {"handler": "a.py", "scale": {"batch_size_max": 2, "batch_wait_s": 11}},
            "scale",
            "batch_wait=11 s must lie in 0..10 s",
        ),
        (
            {"command": ["x"], "scale": {"batch_size_max": 2}},
            "handler",
            "batch_size=2 is for handlers",
        ),
        ({"handler": "a.py", "gpu": "A10"}, None, ""),
        ({"handler": "a.py", "gpu": "H9000"}, "gpu", "H9000"),
        ({"handler": "a.py", "memory": "2 apples"}, "memory", "2 apples"),
        ({"handler": "a.py", "code": "abc"}, "code", "SHA-256"),
        ({"handler": "a.py", "model": "http://x"}, "model", "s3://"),
        ({"handler": "a.txt"}, "handler", ".py"),
        ({}, "handler", "either"),
        ({"handler": "a.py", "command": ["x"]}, "handler", "either"),
        ({"command": []}, "command", "program"),
        ({"command": {"argv": ["x"], "park_path": "/p"}}, "command", "belong together"),
        ({"handler": {"program": "a.py", "park_path": "/p"}}, "handler.park_path", "no field"),
        ({"handler": "a.py", "weight": 0}, "name", "weight over 0"),
        ({"handler": "a.py", "limits": {"queue_max": -1}}, "limits", "queue_max=-1"),
        ({"handler": "a.py", "environment": {"A": 1}}, "environment[...]", "Expected `str`"),
        ([], None, "Expected `object`"),
    ],
)
def test_a_wrong_definition_is_refused_with_field_value_and_cure(
    asked: Any, field: str | None, words: str
) -> None:
    """Strict: nothing is guessed, nothing ignored."""

    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.put("/v1/endpoints/churn", json=asked)
        if not words:
            return
        error = answer.json()["error"]
        assert answer.status_code == 400
        assert error["code"] == "InvalidRequest"
        assert error.get("field") == field
        assert words in error["message"]

    served(Rig(), body)


def test_a_bad_name_or_body_is_refused() -> None:
    """Names have a shape, bodies are JSON."""

    async def body(client: httpx.AsyncClient) -> None:
        named = await client.put("/v1/endpoints/-x-", json=CHURN)
        assert (named.status_code, named.json()["error"]["field"]) == (400, "name")
        for content in (b"{", b'{"model":"\xff"}', b'{"unknown":' + b"[" * 100_000):
            broken = await client.put("/v1/endpoints/x", content=content)
            assert broken.status_code == 400
            told = broken.json()["error"]["message"]
            assert "not JSON" in told or "no field 'unknown'" in told
        large = await client.put("/v1/endpoints/x", content=b" " * 1_100_000)
        assert large.status_code == 413

    served(Rig(), body)


def test_no_room_is_told_with_what_would_do() -> None:
    """The platform's own refusal goes through."""

    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.put("/v1/endpoints/churn", json=CHURN)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "NoRoom")
        assert "A100-80GB" in answer.json()["error"]["message"]

    rig = Rig()
    rig.platform.refusal = NoRoom("no device here holds 80 GB: the smallest is A100-80GB")
    served(rig, body)


def test_archives_are_uploaded_once_and_checked() -> None:
    """HEAD to skip, the hash to trust, the limit to survive."""
    content = b"x" * 300_000
    sha = hashlib.sha256(content).hexdigest()

    async def body(client: httpx.AsyncClient) -> None:
        url = f"/v1/artifacts/{sha}"
        missing = await client.put("/v1/endpoints/a", json={"handler": "a.py", "code": sha})
        assert (missing.status_code, missing.json()["error"]["field"]) == (400, "code")
        assert (await client.head(url)).status_code == 404
        damaged = await client.put(url, content=b"y" + content)
        assert (damaged.status_code, damaged.json()["error"]["field"]) == (400, "sha256")
        stored = await client.put(url, content=content)
        assert (stored.status_code, stored.json()) == (201, {"id": sha})
        assert (await client.head(url)).status_code == 200
        assert (await client.head("/v1/artifacts/abc")).status_code == 400
        large = await client.put(url, content=b"x" * 1_000_001)
        assert (large.status_code, large.json()["error"]["code"]) == (413, "BodyTooLarge")
        found = await client.put("/v1/endpoints/a", json={"handler": "a.py", "code": sha})
        assert found.status_code == 201

    served(Rig(), body)
