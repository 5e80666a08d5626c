"""``ls --warmth`` and ``coldstart``: what a wake would be, how wakes were, what would help."""

from typing import Any

import pytest
from fake_api import FakeApi, endpoint
from shell import Shell

from coldspark.cli import output

TEMPLATE = {
    "program": "inference.py",
    "pid": 4711,
    "users": 0,
    "idle_s": 12.0,
    "memory_bytes": 41_000_000,
    "is_settled": True,
    "is_fork_safe": True,
    "has_model": True,
    "has_setup": False,
    "has_standby": True,
    "has_loaded_standby": False,
    "reason": None,
    "import_us": 1_900_000,
    "load_us": 210_000,
    "load_private_bytes": 1_000_000,
    "learned_modules": 12,
    "learned_us": 340_000,
    "denied_modules": {"grpc": "importing it starts threads: poller"},
}
POOL = {
    "templates": 1,
    "templates_max": 16,
    "memory_bytes": 41_000_000,
    "memory_bytes_max": 8_000_000_000,
    "idle_timeout_s": 300.0,
}
ADVICE = {
    "rule": "model_fetched_in_wake",
    "finding": "the model was fetched while a caller waited: fetched took 3.2 s of 4.1 s",
    "cure": "deploy with --wake",
    "gain_us": 3_200_000,
    "wakes": 1,
}
VARIANT: dict[str, Any] = {
    "name": "main",
    "revision": "0123456789abcdef",
    "wakes": 2,
    "cold_requests": 5,
    "failed": 0,
    "older_wakes": 0,
    "rungs": [
        {"rung": "remote", "wakes": 1, "p50_us": 4_100_000, "p95_us": 4_100_000},
        {"rung": "standby", "wakes": 1, "p50_us": 22_000, "p95_us": 22_000},
    ],
    "stages": [
        {"stage": "queued", "p50_us": 0, "p95_us": 0},
        {"stage": "fetched", "p50_us": 700, "p95_us": 3_200_000},
        {"stage": "start", "p50_us": 22_000, "p95_us": 4_100_000},
    ],
    "warmth": {"rung": "standby", "why": "idle replicas end", "idle_s": 12.0, "template": TEMPLATE},
    "template": TEMPLATE,
    "stock": {
        "code_bytes": 900,
        "model_bytes": 90_000_000,
        "environment_bytes": 1_200_000_000,
        "has_own_environment": True,
    },
    "advice": [ADVICE],
}


def report(**changes: Any) -> tuple[int, dict[str, Any]]:
    """Return a report as the API sends it."""
    variants = [VARIANT | changes]
    return 200, {
        "endpoint": "chat",
        "days": 7,
        "lines": 40,
        "is_complete": True,
        "variants": variants,
    }


def test_warmth_lists_warmth_levels_holdings_and_bounds(coldspark: Shell, api: FakeApi) -> None:
    """One line an endpoint, with what keeps it from the next rung, and the pool's total."""
    warm, cold = endpoint("warm"), endpoint("cold")
    warm["variants"][0]["warmth"] = VARIANT["warmth"]
    cold["variants"][0]["warmth"] = {
        "rung": "cached",
        "why": "no template: it had no replica for 300 s",
        "idle_s": None,
        "template": None,
    }
    api.replies["/v1/endpoints"] = (200, {"endpoints": [cold, warm], "templates": POOL})
    lines = coldspark("ls", "--warmth").out.splitlines()
    assert lines[1].split(None, 6)[:2] == ["cold", "cached"]
    assert lines[1].endswith("no template: it had no replica for 300 s")
    assert "  ".join(lines[2].split()).startswith(
        "warm  standby  pid  4711  41  MB  yes  12  (340  ms)  12  s"
    )
    assert "1 of at most 16, holding 41 MB of at most 8 GB" in lines[-1]


def test_a_narrow_terminal_has_the_reasons_under_the_table(
    coldspark: Shell, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a column they would be a word wide."""
    monkeypatch.setattr(output, "is_terminal", lambda stream=None: True)
    chat = endpoint("chat")
    chat["variants"][0]["warmth"] = VARIANT["warmth"]
    api.replies["/v1/endpoints"] = (200, {"endpoints": [chat], "templates": POOL})
    lines = coldspark("ls", "--warmth", COLUMNS="60").out.splitlines()
    assert "chat: idle replicas end" in lines
    assert max(map(len, lines)) <= 60


def test_warmth_names_variants_where_there_are_several(coldspark: Shell, api: FakeApi) -> None:
    """And a key that may not see the pool is shown none."""
    both = endpoint("both")
    first = both["variants"][0] | {"warmth": VARIANT["warmth"]}
    both["variants"] = [first | {"name": "a"}, first | {"name": "b"}]
    api.replies["/v1/endpoints"] = (200, {"endpoints": [both], "templates": None})
    lines = coldspark("ls", "--warmth").out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", "both/a", "both/b"]


def test_a_report_tells_stages_warmth_levels_sizes_and_advice(
    coldspark: Shell, api: FakeApi
) -> None:
    """Gains are called estimates."""
    api.replies["/v1/endpoints/chat/coldstart"] = report()
    out = coldspark("coldstart", "chat", "--days", "7").out
    for words in (
        "2, waited for by 5 requests",
        "code 900 B, model 90 MB, environment 1.2 GB",
        "imports took 1.90 s, loading the model 210 ms",
        "12 modules learned (340 ms saved)",
        "1 not learned (grpc: importing it starts threads: poller)",
        "fetched  700 µs   3.20 s",
        "remote   1      4.10 s   4.10 s",
        "gains are estimates",
        "- about 3.20 s in 1 of 2 wakes: the model was fetched",
        "deploy with --wake",
    ):
        assert words in out
    assert "queued" not in out
    assert api.asked == ["GET /v1/endpoints/chat/coldstart?days=7"]


def test_without_a_cold_start_nothing_is_advised(coldspark: Shell, api: FakeApi) -> None:
    """No advice without data."""
    api.replies["/v1/endpoints/chat/coldstart"] = report(wakes=0, rungs=[], stages=[], advice=[])
    out = coldspark("coldstart", "chat").out
    assert out.splitlines()[-1] == "no cold start recorded yet"
    assert "faster" not in out


def test_wakes_that_show_nothing_to_improve_say_so(coldspark: Shell, api: FakeApi) -> None:
    """An empty list of advice is an answer."""
    api.replies["/v1/endpoints/chat/coldstart"] = report(advice=[])
    assert "nothing that these cold starts show" in coldspark("coldstart", "chat").out


def test_what_was_not_looked_at_is_reported(coldspark: Shell, api: FakeApi) -> None:
    """A report of a part is not taken for the whole."""
    status, said = report()
    api.replies["/v1/endpoints/chat/coldstart"] = (status, said | {"is_complete": False})
    assert "only the newest 40 requests" in coldspark("coldstart", "chat").err
