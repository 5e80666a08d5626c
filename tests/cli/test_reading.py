"""``ls``, ``describe``, ``logs``, ``requests``, ``trace``, ``bill``, ``keys``: tables and JSON."""

import asyncio
import json
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from fake_api import FakeApi, endpoint
from shell import Shell

from coldspark.billing import prices
from coldspark.billing.pricing import price
from coldspark.billing.usage import IdleUsageState, IdleUsageTotals, LedgerTotals, UsageTotals
from coldspark.cli import output
from coldspark.database.data_directory import DataDirectory
from coldspark.database.database import Database
from coldspark.http.auth.key_store import KeyStore
from coldspark.spec.types import EndpointName, VariantName

REQUEST = {
    "request": "req-1",
    "endpoint": "chat",
    "variant": "main",
    "replica": "r-1",
    "gpu": "A10G",
    "is_simulated": True,
    "arrived_ms": 1_764_000_000_123,
    "duration_ms": 28,
    "busy_ms": 9,
    "status": 200,
    "error": None,
    "is_cold": True,
    "busy_nanos": 1_234,
    "waterfall": {"booted_us": 14_000, "loaded_us": 5_500, "inferred_us": 8_500},
}
LINES = [
    {"at_ms": 1_764_000_000_000, "replica": "r-1", "stream": "stdout", "text": "hello"},
    {"at_ms": 1_764_000_000_500, "replica": "r-1", "stream": "coldspark", "text": "forked"},
]


def test_ls_lists_what_runs_and_waits(coldspark: Shell, api: FakeApi) -> None:
    """Plain columns in a pipe."""
    api.endpoints = {"b": endpoint("b"), "a": endpoint("a")}
    lines = coldspark("ls").out.splitlines()
    assert lines[0].split() == ["name", "status", "replicas", "running", "queued", "gpu", "updated"]
    assert [line.split()[:6] for line in lines[1:]] == [
        ["a", "Ready", "1", "1", "2", "A10G"],
        ["b", "Ready", "1", "1", "2", "A10G"],
    ]


def test_ls_of_nothing_says_what_to_do(coldspark: Shell) -> None:
    """Standard output stays empty."""
    ran = coldspark("ls")
    assert (ran.code, ran.out) == (0, "")
    assert "coldspark deploy" in ran.err


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (("ls",), "/v1/endpoints"),
        (("describe", "a"), "/v1/endpoints/a"),
        (("logs", "a"), "/v1/endpoints/a/logs"),
        (("trace", "r"), "/v1/requests/r"),
        (("ls", "--warmth"), "/v1/endpoints"),
        (("requests", "--slowest"), "/v1/requests"),
        (("coldstart", "a"), "/v1/endpoints/a/coldstart"),
        (("bill",), "/v1/bill"),
        (("doctor", "--server"), "/v1/doctor"),
    ],
)
def test_json_is_what_the_api_said(
    coldspark: Shell, api: FakeApi, words: tuple[str, ...], path: str
) -> None:
    """Every reading command passes it on as it is."""
    said = {"checks": [], "anything": [1, "ü"]}
    api.replies[path] = (200, said)
    assert json.loads(coldspark(*words, "--json").out) == said


def test_describe_tells_replicas_and_decisions(coldspark: Shell, api: FakeApi) -> None:
    """With the reasons."""
    api.endpoints["chat"] = endpoint("chat")
    out = coldspark("describe", "chat").out
    for words in ("A10G (simulated)", "fork of template 7", "start 1: one request waits"):
        assert words in out


def test_a_replicas_min_that_moves_is_reported_with_its_reason(
    coldspark: Shell, api: FakeApi
) -> None:
    """``describe`` and ``ls`` say what holds, why, and what is next; ``ls`` only where it moves."""
    api.endpoints["chat"] = chat = endpoint("chat")
    chat["variants"][0]["floor"] = {"min": 0, "max": 4, "reason": None, "next": None}
    assert "floor" not in coldspark("ls").out
    assert "floor 0 to 4" in " ".join(coldspark("describe", "chat").out.split())
    reason = "window 0 8 * * MON-FRI UTC: 2 replicas until 18:00"
    then = {"at_ms": 1_764_000_000_000, "min": 0, "max": 4}
    chat["variants"][0]["floor"] = {"min": 2, "max": 8, "reason": reason, "next": then}
    for words in (("ls",), ("describe", "chat")):
        out = " ".join(coldspark(*words).out.split())
        assert f"2 to 8 ({reason}), then 0 to 4 from 2025-11-24 " in out


def test_describe_tells_the_warmth_level_in_words(coldspark: Shell, api: FakeApi) -> None:
    """And nothing of the record that it comes in."""
    api.endpoints["chat"] = endpoint("chat")
    warmth = {"rung": "cached", "why": "no template: it died", "idle_s": None, "template": {"a": 1}}
    api.endpoints["chat"]["variants"][0]["warmth"] = warmth
    lines = [" ".join(line.split()) for line in coldspark("describe", "chat").out.splitlines()]
    assert "warmth cached (no template: it died)" in lines


def test_describe_writes_sizes_and_times_with_their_units(coldspark: Shell, api: FakeApi) -> None:
    """Nobody reads 67108864."""
    api.endpoints["chat"] = endpoint("chat")
    lines = [" ".join(line.split()) for line in coldspark("describe", "chat").out.splitlines()]
    for line in ("memory 512MB", "idle_timeout_s = 60 s", "limits body_bytes_max = 64MiB"):
        assert line in lines


def test_an_id_is_never_folded_on_a_terminal(
    coldspark: Shell, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there to be copied: ``coldspark trace ID``."""
    monkeypatch.setattr(output, "is_terminal", lambda stream=None: True)
    id = "0c40eefe-4864-4fb7-9911-3dbadbf2cbd0"
    api.replies["/v1/requests"] = (200, {"requests": [REQUEST | {"request": id}]})
    _, row = coldspark("requests", COLUMNS="80").out.splitlines()
    assert row.startswith(id)


def test_logs_mark_the_platforms_remarks(coldspark: Shell, api: FakeApi) -> None:
    """And the stream, when it is not stdout."""
    api.replies["/v1/endpoints/chat/logs"] = (200, {"lines": LINES})
    lines = coldspark("logs", "chat", "-n", "5").out.splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["r-1 hello", "r-1 [coldspark] forked"]
    assert api.asked == ["GET /v1/endpoints/chat/logs?lines=5"]


def test_logs_can_be_followed(coldspark: Shell, api: FakeApi) -> None:
    """Until the server ends the stream."""
    api.replies["/v1/endpoints/chat/logs"] = (200, {"lines": LINES})
    assert len(coldspark("logs", "chat", "-f").out.splitlines()) == 2
    assert json.loads(coldspark("logs", "chat", "-f", "--json").out.splitlines()[0]) == LINES[0]


def bill(book: str) -> object:
    """Return a bill as the API sends it."""
    usage = UsageTotals(
        endpoint=EndpointName("chat"),
        variant=VariantName("main"),
        gpu=None,
        gpu_count=0.0,
        is_simulated=False,
        requests=1000,
        errors=0,
        cold=1,
        busy_ms=3_600_000,
        duration_ms=3_700_000,
        busy_nanos=5_000_000,
        bytes_in=10**9,
        bytes_out=0,
    )
    overhead = IdleUsageTotals(
        endpoint=None,
        gpu=None,
        gpu_count=0.0,
        is_simulated=False,
        state=IdleUsageState.OVERHEAD,
        is_provisioned=False,
        duration_ms=1000,
        nanos=700,
    )
    totals = LedgerTotals(usages=(usage,), idle_usages=(overhead,))
    return msgspec.to_builtins(price(prices.load(book), totals, wall_ms=7_200_000))


def test_a_bill_under_the_guide_shows_its_errors_and_intervals(
    coldspark: Shell, api: FakeApi
) -> None:
    """Nothing silently zero, no wrong figure without the right one beside it."""
    api.replies["/v1/bill"] = (200, bill("guide-2026-03"))
    out = coldspark("bill", "chat", "--prices", "guide-2026-03").out
    assert "total  $0.850" in out
    assert "not priced" in out
    assert "missing from the total: data transfer: not priced by the guide" in out
    assert "assumed: what ran here on CPU would have taken as long on A10G" in out
    assert "a dedicated A10G over the same 2 hours: $1.52" in out
    assert "printed ~$160 a month, computed $61.50 a month" in out
    assert "endpoint=chat&book=guide-2026-03" in api.asked[0]


def test_lines_that_differ_in_nothing_shown_are_one(coldspark: Shell, api: FakeApi) -> None:
    """A book that bills held time has a line each for busy, starting and idle, all "compute"."""
    line = {"component": "compute", "endpoint": "chat", "gpu": "A10G", "unit": "hour"}
    said = json.loads(msgspec.json.encode(bill("own")))
    parts = [line | {"quantity": 0.5, "nanos": 1_000_000_000 * n} for n in (1, 2, 3)]
    unpriced = line | {"component": "data transfer", "quantity": 1, "unit": "GB", "nanos": None}
    api.replies["/v1/bill"] = (200, said | {"lines": [*parts, unpriced]})
    rows = [line.split() for line in coldspark("bill").out.splitlines()]
    assert [row for row in rows if row[:1] == ["compute"]] == [
        ["compute", "chat", "A10G", "1.5", "hour", "$6.00"]
    ]
    assert ["data", "transfer", "chat", "A10G", "1", "GB", "not", "priced"] in rows


def test_the_own_bill_names_the_machines_overhead(coldspark: Shell, api: FakeApi) -> None:
    """Everything adds up to the machine's cost."""
    api.replies["/v1/bill"] = (200, bill("own"))
    out = coldspark("bill", "--since", "24h").out
    assert "overhead   machine" in out
    assert "total  $0.00500" in out
    assert "since=" in api.asked[0]


def test_a_moment_that_is_none_is_a_usage_error(coldspark: Shell, api: FakeApi) -> None:
    """Nothing is asked."""
    ran = coldspark("bill", "--since", "yesteryear")
    assert ran.code == 2
    assert "2026-11-01, 24h or 7d" in ran.err
    assert api.asked == []


def test_a_range_that_ends_before_it_begins_is_reported_in_the_words_given(
    coldspark: Shell, api: FakeApi
) -> None:
    """Not in milliseconds since 1970, which nobody typed."""
    ran = coldspark("bill", "--since", "5m", "--until", "1h")
    assert ran.code == 2
    assert "--since 5m is after --until 1h" in ran.err
    assert api.asked == []


def test_keys_are_made_listed_and_revoked(coldspark: Shell, api: FakeApi) -> None:
    """The secret is shown once."""
    assert "csk_1" in coldspark("keys", "create", "ci", "--scope", "deploy").out
    listed = coldspark("keys", "ls").out
    assert "ci" in listed
    assert "csk_1" not in listed
    assert coldspark("keys", "rm", "CSK1").code == 0
    assert api.keys == []
    assert "no keys" in coldspark("keys", "ls").err


def test_a_key_can_be_made_before_any_server_ran(
    coldspark: Shell, api: FakeApi, tmp_path: Path
) -> None:
    """A public address needs one at the first start."""
    data = tmp_path / "data"

    ran = coldspark("keys", "create", "me", "--scope", "admin", "--data", str(data), "--json")

    made = json.loads(ran.out)
    assert api.asked == []
    directory = DataDirectory.open(data)
    with closing(directory), closing(Database.open(directory.database)) as database:
        keys = KeyStore(database, directory.master_key, lambda: 0)
        asyncio.run(keys.refresh())
        assert [(key.id, key.name, key.scopes) for key in keys.list()] == [
            (made["id"], "me", ("admin",))
        ]
        assert keys.token(made["id"]) == made["token"]


def test_a_data_directory_in_use_is_left_to_its_server(
    coldspark: Shell, api: FakeApi, tmp_path: Path
) -> None:
    """A running server holds the keys in memory: it would not hear of this one."""
    with closing(DataDirectory.open(tmp_path)):
        ran = coldspark("keys", "create", "me", "--data", str(tmp_path))
    assert ran.code != 0
    assert "leave --data out" in ran.err


def test_a_key_is_made_in_one_place(coldspark: Shell, api: FakeApi, tmp_path: Path) -> None:
    """Of a server and a directory, one would be ignored."""
    ran = coldspark("keys", "create", "me", "--data", str(tmp_path), "--url", "http://x")
    assert ran.code == 2
    assert "not both" in ran.err


def test_a_server_that_is_none_is_reported(coldspark: Shell, api: FakeApi) -> None:
    """Some other program answers on the port."""
    api.replies["/v1/endpoints"] = (200, None)
    assert coldspark("ls").code == 0
    ran = coldspark("ls", "--url", "ftp://x")
    assert ran.code == 2
