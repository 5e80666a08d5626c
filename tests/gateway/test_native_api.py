"""The native API over HTTP: deploy, look, upload, follow, price; strict about what it reads."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from fake_services import Rig
from gateway_fakes import COLD, definition, echo, receipt, view
from wires import gateway, run

from coldspark.core.types import EndpointName, ReplicaId, RequestId
from coldspark.runtime.ports import Invocation, LogLine

Body = Callable[[httpx.AsyncClient], Awaitable[None]]
CHURN = {"handler": "inference.py", "gpu": "A10G", "scale": {"max": 4}}


def served(rig: Rig, body: Body, key: str | None = None) -> None:
    """Run ``body`` with a client of a running gateway."""

    async def main() -> None:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        async with (
            gateway(rig.context()) as wired,
            httpx.AsyncClient(base_url=wired.url, headers=headers) as client,
        ):
            await body(client)

    run(main())


def usage(request: str = "req-1", endpoint: str = "churn") -> Any:
    asked = Invocation(endpoint=EndpointName(endpoint), started_s=0.0, request=RequestId(request))
    return receipt(asked, waterfall=COLD).usage


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
        command = {"argv": ["python", "serve.py"], "ping_path": "/health"}
        asked = {
            "command": command,
            "gpu": "L4,A10G",
            "memory": "2GB",
            "gpu_memory": "15GB",
            "environment": {"B": "1", "A": "2"},
            "limits": {"request_timeout_s": 5},
            "model": "s3://bucket/key",
        }
        made = await client.put("/v1/endpoints/chat", json=asked)
        assert made.status_code == 201, made.text
        variant = made.json()["variants"][0]
        state = ("status", "failure", "queued", "revision", "replicas", "decisions")
        again = {name: value for name, value in variant.items() if name not in state}
        assert (await client.put("/v1/endpoints/chat", json=again)).json()["unchanged"]

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
        ({"handler": "a.py", "scale": {"min": 3}}, "scale", "replicas_min=3 must lie in 0..1"),
        ({"handler": "a.py", "gpu": "A10"}, None, ""),
        ({"handler": "a.py", "gpu": "H9000"}, "gpu", "H9000"),
        ({"handler": "a.py", "memory": "2 apples"}, "memory", "2 apples"),
        ({"handler": "a.py", "code": "abc"}, "code", "SHA-256"),
        ({"handler": "a.py", "model": "http://x"}, "model", "s3://"),
        ({"handler": "a.txt"}, "handler", ".py"),
        ({}, "handler", "either"),
        ({"handler": "a.py", "command": ["x"]}, "handler", "either"),
        ({"command": []}, "command", "program"),
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
        broken = await client.put("/v1/endpoints/x", content=b"{")
        assert "not JSON" in broken.json()["error"]["message"]
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
    rig.platform.fits = False
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


def line(text: str) -> LogLine:
    return LogLine(at_ms=1, replica=ReplicaId("r-1"), stream="stdout", text=text)


def test_logs_are_read_and_followed() -> None:
    """The newest lines; then, on request, every new one until the caller hangs up."""

    async def body(client: httpx.AsyncClient) -> None:
        url = "/v1/endpoints/churn/logs"
        read = (await client.get(url, params={"lines": 1})).json()
        assert read == {
            "lines": [{"at_ms": 1, "replica": "r-1", "stream": "stdout", "text": "two"}]
        }
        ended = asyncio.Event()
        rig.logs.on_end = ended.set
        async with client.stream("GET", url, params={"follow": "true"}) as stream:
            lines = stream.aiter_lines()
            assert json.loads(await anext(lines))["text"] == "one"
            assert json.loads(await anext(lines))["text"] == "two"
            rig.logs.followers[0].add(line("three"))
            assert json.loads(await anext(lines))["text"] == "three"
        await ended.wait()
        assert not rig.logs.followers

    rig = Rig()
    rig.platform.views["churn"] = view(definition())
    rig.platform.lines = [line("one"), line("two")]
    served(rig, body)


def test_logs_can_be_followed_as_events() -> None:
    """For browsers."""

    async def body(client: httpx.AsyncClient) -> None:
        accept = {"accept": "text/event-stream"}
        url = "/v1/endpoints/churn/logs?follow=true"
        async with client.stream("GET", url, headers=accept) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert (await anext(stream.aiter_lines())).startswith('data: {"at_ms":1')

    rig = Rig()
    rig.platform.views["churn"] = view(definition())
    rig.platform.lines = [line("one")]
    served(rig, body)


def test_the_ledger_is_read_line_by_line() -> None:
    """With the waterfall in microseconds."""

    async def body(client: httpx.AsyncClient) -> None:
        rows = (await client.get("/v1/requests", params={"limit": 1})).json()["requests"]
        assert [row["request"] for row in rows] == ["req-2"]
        mine = (await client.get("/v1/requests?endpoint=churn")).json()["requests"]
        assert [row["request"] for row in mine] == ["req-1"]
        row = (await client.get("/v1/requests/req-1")).json()
        assert row["waterfall"]["booted_us"] == 14000
        assert row["busy_nanos"] == 12_345
        assert (await client.get("/v1/requests/none")).status_code == 404
        wrong = await client.get("/v1/requests?limit=many")
        assert (wrong.status_code, wrong.json()["error"]["field"]) == (400, "limit")

    rig = Rig()
    rig.usages.lines = [usage("req-2", "other"), usage()]
    served(rig, body)


def test_a_bill_is_asked_for_by_book_and_time() -> None:
    """Parameters reach the service; nonsense does not."""

    async def body(client: httpx.AsyncClient) -> None:
        asked = {"endpoint": "churn", "book": "guide-2026-03", "since": "5", "until": "9"}
        assert (await client.get("/v1/bill", params=asked)).json() == {"total_nanos": 7}
        assert (await client.get("/v1/bill?book=none")).status_code == 404
        assert (await client.get("/v1/bill?since=yesterday")).status_code == 400
        assert (await client.get("/v1/bill?since=9&until=5")).status_code == 400

    rig = Rig()
    served(rig, body)
    assert len(rig.bills) == 1
    assert (rig.bills[0].since_ms, rig.bills[0].until_ms, rig.bills[0].as_gpu) == (5, 9, None)


def test_health_doctor_docs_and_landing() -> None:
    """For machines and for people."""

    async def body(client: httpx.AsyncClient) -> None:
        assert (await client.get("/healthz")).json()["status"] == "ok"
        assert (await client.get("/v1/doctor")).json()["checks"][0]["name"] == "python"
        assert (await client.get("/")).json()["name"] == "coldspark"
        page = await client.get("/", headers={"accept": "text/html"})
        assert "<h1>coldspark" in page.text
        docs = (await client.get("/docs")).text
        assert "/v1/endpoints/{name}/logs" in docs
        assert "src=" not in docs
        assert "http" not in docs.replace("http-equiv", "")

    served(Rig(), body)


def test_metrics_are_read_from_views_and_counts() -> None:
    """Prometheus's own parser understands them."""

    async def body(client: httpx.AsyncClient) -> None:
        await client.post("/v1/endpoints/churn/invoke", content=b"x")
        from prometheus_client.parser import text_string_to_metric_families

        text = (await client.get("/metrics")).text
        found = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        assert found["coldspark_requests_total", "200", "churn"] == 1
        assert found["coldspark_in_flight", "churn", "main"] == 2
        assert found["coldspark_queue_depth", "churn", "main"] == 3
        assert found["coldspark_replicas", "churn", "main", "ready"] == 1
        assert found["coldspark_wake_seconds_bucket", "0.02"] == 1
        assert found["coldspark_wake_seconds_bucket", "0.01"] == 0
        assert found["coldspark_wake_seconds_count",] == 1

    rig = Rig()
    rig.platform.views["churn"] = view(definition())
    rig.platform.script = lambda asked, sink: sink.reply(
        200, [], b"", receipt(asked, waterfall=COLD)
    )
    served(rig, body)


def test_unknown_routes_and_methods_are_told_what_there_is() -> None:
    """404 with near routes, 405 with what is allowed; under /v1 in OpenAI's shape."""

    async def body(client: httpx.AsyncClient) -> None:
        near = await client.get("/v1/endpoint")
        assert near.status_code == 404
        assert "/v1/endpoints" in near.json()["error"]["message"]
        native = (await client.get("/v1/endpoints/a/logz")).json()["error"]
        assert native["near"][0] == "/v1/endpoints/{name}/logs"
        openai = (await client.post("/v1/responses", json={})).json()["error"]
        assert set(openai) == {"message", "type", "param", "code"}
        wrong = await client.patch("/v1/endpoints/churn")
        assert wrong.status_code == 405
        assert wrong.headers["allow"] == "DELETE, GET, HEAD, PUT"
        invoke = await client.get("/v1/endpoints/churn/invoke")
        assert (invoke.status_code, invoke.headers["allow"]) == (405, "POST")

    served(Rig(), body)


def test_keys_are_made_by_admins_and_their_scopes_hold() -> None:
    """Every route asks for its scope; health and documents ask for none."""
    rig = Rig()
    rig.platform.script = echo
    rig.platform.views = {"a": view(definition("a")), "b": view(definition("b"))}
    rig.usages.lines = [usage("req-a", "a"), usage("req-b", "b")]
    admin = rig.keys.add("admin", "admin")
    deployer = rig.keys.add("deployer", "deploy:a")
    invoker = rig.keys.add("invoker", "invoke:a")

    async def nobody(client: httpx.AsyncClient) -> None:
        for path in ("/v1/endpoints", "/metrics", "/v1/keys", "/v1/models", "/v1/doctor"):
            answer = await client.get(path)
            assert answer.status_code == 401, path
            assert "bearer" in answer.json()["error"]["message"].lower()
        invoked = await client.post("/v1/endpoints/a/invoke")
        assert invoked.status_code == 401
        assert invoked.headers["www-authenticate"].startswith("Bearer")
        for path in ("/healthz", "/docs", "/openapi.json", "/"):
            assert (await client.get(path)).status_code == 200

    async def as_admin(client: httpx.AsyncClient) -> None:
        made = await client.post("/v1/keys", json={"name": "ci", "scopes": ["deploy"]})
        assert made.status_code == 201
        assert made.json()["token"] == "CSKci"
        assert made.json()["secret_access_key"] == "secret of CSKci"
        assert made.headers["cache-control"] == "no-store"
        listed = (await client.get("/v1/keys")).json()["keys"]
        assert "token" not in listed[0]
        assert (await client.delete("/v1/keys/CSKci")).status_code == 204
        assert (await client.delete("/v1/keys/CSKci")).status_code == 404
        unknown = await client.post("/v1/keys", json={"name": "ci", "scope": ["deploy"]})
        assert unknown.json()["error"]["field"] == "scope"

    async def as_deployer(client: httpx.AsyncClient) -> None:
        listed = (await client.get("/v1/endpoints")).json()["endpoints"]
        assert [one["name"] for one in listed] == ["a"]
        assert (await client.put("/v1/endpoints/a", json=CHURN)).status_code == 200
        assert (await client.put("/v1/endpoints/b", json=CHURN)).status_code == 403
        assert (await client.head(f"/v1/artifacts/{'0' * 64}")).status_code == 404
        assert (await client.post("/v1/endpoints/a/invoke")).status_code == 403
        assert (await client.get("/v1/keys")).status_code == 403
        assert (await client.get("/v1/requests?endpoint=a")).status_code == 200
        assert (await client.get("/v1/requests")).status_code == 403
        assert (await client.get("/v1/requests/req-b")).status_code == 403
        assert (await client.get("/v1/requests/none")).status_code == 403

    async def as_invoker(client: httpx.AsyncClient) -> None:
        assert (await client.post("/v1/endpoints/a/invoke")).status_code == 200
        assert (await client.post("/v1/endpoints/b/invoke")).status_code == 403
        assert (await client.get("/v1/endpoints")).json() == {"endpoints": []}
        assert (await client.head(f"/v1/artifacts/{'0' * 64}")).status_code == 403
        models = (await client.get("/v1/models")).json()["data"]
        assert [one["id"] for one in models] == ["a"]

    served(rig, nobody)
    served(rig, as_admin, admin.id)
    served(rig, as_deployer, deployer.id)
    served(rig, as_invoker, invoker.id)
    assert rig.platform.invocations[-1].key == invoker.id


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"host": "rebound.example:7117"}],
)
def test_while_there_are_no_keys_web_pages_are_kept_out(headers: dict[str, str]) -> None:
    """A page may reach 127.0.0.1, by itself or by a name that points there."""

    async def body(client: httpx.AsyncClient) -> None:
        for method, path in (("POST", "/v1/endpoints/a/invoke"), ("GET", "/v1/endpoints")):
            answer = await client.request(method, path, headers=headers)
            assert answer.status_code == 403, path

    served(Rig(), body)


def test_aws_speaks_at_the_same_port() -> None:
    """Control plane at POST /, invocations at their own path."""

    async def body(client: httpx.AsyncClient) -> None:
        target = {"x-amz-target": "SageMaker.ListModels"}
        answer = await client.post("/", headers=target, content=b"{}")
        assert (answer.status_code, answer.json()) == (200, {"Models": []})
        invoked = await client.post(
            "/endpoints/churn/invocations", content=b"a,b", headers={"content-type": "text/csv"}
        )
        assert invoked.content == b"a,b"
        assert invoked.headers["x-amzn-invoked-production-variant"] == "main"
        assert invoked.headers["x-amzn-requestid"] == invoked.headers["x-coldspark-request-id"]
        assert invoked.headers["x-coldspark-cost"] == "0.000012345"

    served(Rig(), body)


def test_an_error_of_a_container_is_a_model_error() -> None:
    """AWS's clients read 424 with the original status."""

    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.post("/endpoints/churn/invocations")
        assert answer.status_code == 424
        assert answer.headers["x-amzn-errortype"] == "ModelError"
        assert answer.json()["OriginalStatusCode"] == 503

    rig = Rig()
    rig.platform.script = lambda asked, sink: sink.reply(503, [], b"no", receipt(asked))
    served(rig, body)
