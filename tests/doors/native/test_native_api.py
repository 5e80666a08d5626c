"""The native API over HTTP: look, follow, price, and who may."""

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fake_services import Rig
from gateway_fakes import COLD, definition, echo, receipt, view
from native_client import CHURN, served
from wires import gateway, run

from coldspark.platform.ports import Invocation, LogLine, TapsView
from coldspark.spec.types import EndpointName, ReplicaId, RequestId


def usage(request: str = "req-1", endpoint: str = "churn") -> Any:
    asked = Invocation(endpoint=EndpointName(endpoint), started_s=0.0, request=RequestId(request))
    return receipt(asked, waterfall=COLD).usage


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


def test_a_followed_log_does_not_hold_up_the_end() -> None:
    """The stream ends well when the server does, long before its grace is over."""

    async def main() -> None:
        rig = Rig()
        rig.platform.views["churn"] = view(definition())
        rig.platform.lines = [line("one")]
        async with httpx.AsyncClient() as client, AsyncExitStack() as stack:
            server = await stack.enter_async_context(AsyncExitStack())
            wired = await server.enter_async_context(gateway(rig.context(), grace_s=15))
            url = f"{wired.url}/v1/endpoints/churn/logs?follow=true"
            stream = await stack.enter_async_context(client.stream("GET", url))
            lines = stream.aiter_lines()
            await anext(lines)
            async with asyncio.timeout(5):
                await server.aclose()
            assert [rest async for rest in lines] == []

    run(main())


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
        assert found["coldspark_shadow_requests_total", "callers wait", "churn"] == 2
        assert found["coldspark_captured_requests_total", "churn", "written"] == 5

    rig = Rig()
    taps = TapsView(copied=4, uncopied=(("callers wait", 2),), captured=5)
    rig.platform.views["churn"] = replace(view(definition()), taps=taps)
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
        assert (await client.get("/v1/endpoints")).json() == {"endpoints": [], "templates": None}
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
