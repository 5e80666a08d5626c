"""The SDK's client against the real gateway: both sides mean the same by every path and field."""

import asyncio
import hashlib
from collections.abc import Callable

import msgspec
import pytest
from fake_services import Rig
from gateway_fakes import COLD, definition, receipt, view
from wires import gateway, run

from coldspark.platform.ports import Invocation, LogLine, Sink
from coldspark.sdk.client import Client, ServerRefused
from coldspark.spec.types import EndpointName, ReplicaId, RequestId


def served(rig: Rig, body: Callable[[Client], None]) -> None:
    """Run ``body``, which blocks, beside a gateway."""

    async def main() -> None:
        async with gateway(rig.context()) as wired:
            await asyncio.to_thread(body, Client(wired.url))

    run(main())


def test_deploying_from_the_sdk() -> None:
    """Upload, plan, apply, look, delete."""
    content = b"an archive"
    sha = hashlib.sha256(content).hexdigest()
    asked = {
        "handler": {"program": "inference.py", "requirements": [], "overrides": []},
        "code": sha,
        "gpu": "A10G",
        "scale": {"max": 4, "idle_timeout_s": 60.0},
    }

    def body(client: Client) -> None:
        assert not client.has_artifact(sha)
        assert client.put_endpoint("a", asked, is_dry_run=True)["action"] == "create"
        client.put_artifact(sha, content)
        assert client.has_artifact(sha)
        assert client.put_endpoint("a", asked)["unchanged"] is False
        assert client.put_endpoint("a", asked)["unchanged"] is True
        assert client.endpoint("a")["variants"][0]["code"] == sha
        assert [one["name"] for one in client.endpoints()] == ["a"]
        client.remove("a")
        with pytest.raises(ServerRefused, match="does not exist"):
            client.endpoint("a")
        with pytest.raises(ServerRefused) as caught:
            client.put_endpoint("a", asked | {"gpuu": 1})
        assert caught.value.field == "gpuu"

    served(Rig(), body)


def test_invoking_from_the_sdk() -> None:
    """Whole and streamed replies tell their cost."""

    def script(invocation: Invocation, sink: Sink) -> None:
        if invocation.path is None:
            sink.reply(200, [], invocation.body, receipt(invocation))
            return
        sink.begin(200, [("content-type", "text/plain")])
        sink.write(b"one ")
        sink.write(b"two")
        sink.end(receipt(invocation, waterfall=COLD))

    def body(client: Client) -> None:
        answer = client.invoke("a", {"x": 1})
        assert answer.json() == {"x": 1}
        assert answer.cost_dollars == "0.000012345"
        assert answer.stages_ms["inferred"] == 1.5
        streamed = client.invoke("a", b"", path="/stream")
        assert streamed.content == b"one two"
        assert streamed.is_cold
        assert streamed.cost_dollars == "0.000012345"
        assert streamed.stages_ms["booted"] == 14.0

    rig = Rig()
    rig.platform.script = script
    served(rig, body)


def test_looking_from_the_sdk() -> None:
    """Logs, requests, bill, doctor, keys."""

    def body(client: Client) -> None:
        assert client.logs("a")[0]["text"] == "hello"
        assert client.requests("a")[0]["request"] == "req-1"
        assert client.request("req-1")["waterfall"]["booted_us"] == 14000
        assert client.bill("a", book="own", since="5", as_gpu="L4") == {"total_nanos": 7}
        assert client.doctor()["status"] == "ok"
        assert client.create_key("ci", ["invoke"])["token"] == "CSKci"

    rig = Rig()
    rig.platform.views["a"] = view(definition("a"))
    rig.platform.lines = [LogLine(at_ms=1, replica=ReplicaId("r"), stream="stdout", text="hello")]
    asked = Invocation(endpoint=EndpointName("a"), started_s=0.0, request=RequestId("req-1"))
    rig.usages.lines = [receipt(asked, waterfall=COLD).usage]
    served(rig, body)
    assert rig.bills[0].as_gpu == "L4"


def test_the_ledger_is_read_page_by_page_since_a_moment() -> None:
    """Whole, newest first, each line once though pages meet within a millisecond."""

    def body(client: Client) -> None:
        lines = client.ledger("a", since_ms=100, lines_max=9_000)
        assert [line["request"] for line in lines] == [f"r{n}" for n in range(2_400)]
        newest = client.ledger("a", since_ms=100, lines_max=1_500)
        assert [line["request"] for line in newest] == [f"r{n}" for n in range(1_500)]
        with pytest.raises(ServerRefused, match="must not be after"):
            client.find_requests("a", since_ms=5, until_ms=4)

    rig = Rig()
    rig.platform.views["a"] = view(definition("a"))
    asked = Invocation(endpoint=EndpointName("a"), started_s=0.0, request=RequestId("r"))
    one = receipt(asked, waterfall=COLD).usage
    rig.usages.lines = [
        msgspec.structs.replace(one, request=RequestId(f"r{n}"), arrived_ms=3_000 - n // 7)
        for n in range(2_400)
    ]
    rig.usages.lines.append(msgspec.structs.replace(one, arrived_ms=99))
    served(rig, body)
