"""``plan``: traffic from anywhere, tables or JSON, a policy that deploys, and no half answers."""

import gzip
import json
import re
from html import escape
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_api import FakeApi, endpoint
from shell import Ran, Shell

from coldspark.doors.native.definitions import _scale
from coldspark.doors.native.shapes import ScaleBody
from coldspark.platform.scheduled_scaling import read_window
from coldspark.sdk.project import read_project
from coldspark.sim.candidates import CandidatePolicy, as_toml, candidates
from coldspark.sim.planner import Planner
from coldspark.spec.money import format_dollars
from coldspark.spec.types import ScalePolicy

pytestmark = pytest.mark.seconds

HOUR = ["--seeds", "1", "--no-break-even", "--gpus", "A10G", "--max", "2", "--start", "20s"]


@pytest.fixture
def trace(tmp_path: Path) -> str:
    """Write four requests in an hour, one of unknown length."""
    file = tmp_path / "trace.csv"
    file.write_text("arrival_s,duration_s,key\n0,2,a\n5,,a\n1800,3,b\n1830,2,a\n")
    return str(file)


def planned(ran: Ran) -> dict[str, Any]:
    """Return the JSON of a plan that went well."""
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_a_trace_is_planned_as_tables(coldspark: Shell, trace: str) -> None:
    """Platforms, components, the frontier, what to deploy, what was assumed."""
    ran = coldspark("plan", "--trace", trace, "--service", "4s", *HOUR)
    assert ran.code == 0, ran.err
    for words in (
        "4 requests in 1h 0m (96 a day); each takes 2 s (p95 4 s), a start here 20 s",
        "SageMaker Serverless GPU, as in the guide ",
        "RunPod Serverless, flex ",
        "~$",
        "not compared: AWS Lambda (CPU) runs no GPU",
        "invocations",
        "Recommended: ",
        "[scale]\nmax = 2\n",
        "- assumed: 1 of 4 durations, drawn from --service",
        "- SageMaker Serverless GPU, as in the guide (2026-03): an idle instance is kept for",
    ):
        assert words in ran.out
    assert ran.err == ""


def test_the_guides_example_is_a_command(coldspark: Shell) -> None:
    """Its four components, with the sums that follow from its rates."""
    words = ["plan", "--rate", "1000/day", "--service", "2s", "--min", "2", "--days", "1", "--json"]
    answer = planned(coldspark(*words, *HOUR))
    row = next(row for row in answer["platforms"] if row["platform"] == "sagemaker")
    month = answer["traffic"]["requests_a_day"] * 30
    assert row["parts"]["provisioned concurrency"] == 38_160_000_000
    assert row["parts"]["invocations"] == pytest.approx(month * 700_000)
    assert row["parts"]["compute"] == pytest.approx(month * 2 / 3600 * 150_000_000)


def test_the_same_seed_is_the_same_plan(coldspark: Shell) -> None:
    """To the byte."""
    words = [
        "plan",
        "--rate",
        "12/h",
        "--burst",
        "2",
        "--hours",
        "0-18",
        "--days",
        "0.2",
        "--service",
        "2s..9s",
        "--json",
    ]
    words += [*HOUR, "--seeds", "2"]
    one, other = (coldspark(*words, "--seed", "7").out for _ in range(2))
    assert one == other
    assert planned(coldspark(*words, "--seed", "8")) != json.loads(one)


def test_one_key_of_a_trace(coldspark: Shell, trace: str) -> None:
    """Such as one model of many."""
    ran = coldspark("plan", "--trace", trace, "--trace-key", "b", "--json", *HOUR)
    assert planned(ran)["traffic"]["requests"] == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xef\xbb\xbfarrival_s,duration_s\n0,2\n", None),
        (b"\x00\xff", "is no text in UTF-8: is it a CSV file?"),
        (b"", "the trace is empty"),
    ],
)
def test_files_of_spreadsheets_are_read_and_others_told(
    coldspark: Shell, tmp_path: Path, content: bytes, told: str | None
) -> None:
    """A mark of the byte order is none of the first column's name."""
    file = tmp_path / "trace.csv"
    file.write_bytes(content)
    ran = coldspark("plan", "--trace", str(file), *HOUR, "--json")
    assert (ran.code == 0) == (told is None)
    assert (told or "") in " ".join(ran.err.replace("│", "").split())


def line(number: int, arrived_ms: int, *, booted_us: int = 0, loaded_us: int = 0) -> dict[str, Any]:
    """Return a ledger line of 2 s."""
    fall = {"fetched_us": 0, "booted_us": booted_us, "loaded_us": loaded_us}
    return {
        "request": f"r{number}",
        "replica": f"replica-{number}",
        "arrived_ms": arrived_ms,
        "busy_ms": 2_000,
        "is_cold": bool(booted_us or loaded_us),
        "waterfall": fall,
    }


def test_a_live_endpoint_is_planned_by_its_ledger(
    coldspark: Shell, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrivals and busy times, starts and thaws as measured, its GPU and its slots."""
    now_ms = 1_764_000_000_000 + 3_600_000
    monkeypatch.setattr("coldspark.clock.wall_ms", lambda: now_ms)
    chat = endpoint("chat")
    chat["variants"][0]["scale"]["concurrency"] = 3
    api.endpoints["chat"] = chat
    lines = [
        line(3, now_ms - 1_000, loaded_us=50_000),
        line(2, now_ms - 2_000_000, booted_us=6_000_000, loaded_us=2_000_000),
        line(1, now_ms - 3_000_000, booted_us=4_000_000),
        line(0, now_ms - 3_100_000) | {"replica": None},
    ]
    api.replies["/v1/requests"] = (200, {"requests": lines, "is_complete": True})
    answer = planned(
        coldspark("plan", "--endpoint", "chat", "--json", "--no-break-even", "--max", "2")
    )
    traffic = answer["traffic"]
    assert (traffic["requests"], traffic["period_s"]) == (3, 3600.0)
    assert (traffic["service"]["p50_s"], traffic["start_p95_s"]) == (2.0, 8.0)
    assert {row["gpu"] for row in answer["platforms"]} == {"A10G", None}
    assert "concurrency = 3" in answer["recommended"]["toml"]
    assert "park_timeout" not in answer["recommended"]["toml"]
    assert {"measured here: 2 starts", "measured here: 1 thaws"} <= set(answer["remarks"])


def test_the_report_and_the_picture_are_written(
    coldspark: Shell, trace: str, tmp_path: Path
) -> None:
    """Each whole in one file."""
    files = ["--html", str(tmp_path / "plan.html"), "--svg", str(tmp_path / "plan.svg")]
    ran = coldspark("plan", "--trace", trace, "--service", "2s", *HOUR, *files)
    assert ran.code == 0, ran.err
    assert (tmp_path / "plan.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "plan.svg").read_text().startswith("<svg")
    assert f"wrote {tmp_path / 'plan.html'}" in ran.err


def test_another_floor_at_times_is_tried_too(coldspark: Shell) -> None:
    """Traffic of office hours only, on a Monday: nobody waits for a start within the window."""
    words = ["plan", "--rate", "60/h", "--hours", "9-17", "--days", "1", "--service", "2s"]
    words += ["--window", "55 8 * * MON-FRI@Europe/Berlin 8h30m min=1", "--p95", "3s", "--json"]
    answer = planned(coldspark(*words, *HOUR))
    policies = {row["policy"]: row for row in answer["policies"]}
    assert "learned, by window" in policies
    kept, plain = policies["keep-alive, 60 s, by window"], policies["keep-alive, 60 s"]
    assert kept["wait"]["p95_s"] < 0.1 * plain["wait"]["p95_s"]
    assert 'time_zone = "Europe/Berlin"' in kept["toml"]
    assert "assumed: the traffic begins on a Monday at 0:00 in Europe/Berlin" in " ".join(
        answer["remarks"]
    )


def test_a_png_is_drawn_by_the_plot_extra(coldspark: Shell, trace: str, tmp_path: Path) -> None:
    """A picture of its own, without a screen."""
    pytest.importorskip("matplotlib", reason="the extra coldspark[plot] is not installed")
    file = tmp_path / "plan.png"
    ran = coldspark("plan", "--trace", trace, "--service", "2s", *HOUR, "--png", str(file))
    assert ran.code == 0, ran.err
    assert file.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_without_the_plot_extra_a_png_is_refused_before_anything_is_played(
    coldspark: Shell, trace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to install, and what needs nothing."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    file = tmp_path / "plan.png"
    ran = coldspark("plan", "--trace", trace, "--service", "2s", *HOUR, "--png", str(file))
    assert (ran.code, ran.out) == (2, "")
    told = " ".join(ran.err.replace("│", "").split())
    assert "needs matplotlib: pip install 'coldspark[plot]', or pass --svg" in told


def test_terminal_page_and_json_tell_the_same(coldspark: Shell, trace: str, tmp_path: Path) -> None:
    """Every policy's cost and interval, and every platform's cost, to the cent."""
    words = ["plan", "--trace", trace, "--service", "2s", *HOUR, "--seeds", "3"]
    page = tmp_path / "plan.html"
    text = coldspark(*words, "--html", str(page)).out
    answer = planned(coldspark(*words, "--json"))
    html = page.read_text()
    chosen = next(one for one in answer["policies"] if one["is_chosen"])
    low, high = (format_dollars(round(nanos)) for nanos in chosen["month_nanos_90"])
    figures = [format_dollars(chosen["month_nanos"]), f"{low}..{high}"]
    rows = [row["month_nanos"] for row in answer["platforms"] if row["month_nanos"] is not None]
    for figure in [*figures, *map(format_dollars, rows)]:
        assert figure in text
        assert figure in html
    for words_of in (answer["recommended"]["sureness"], answer["seeds"]["told"]):
        assert words_of in text
        assert escape(words_of) in html


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "once: --trace FILE, --endpoint NAME or --rate 100/h"),
        ("--rate 1/h --endpoint chat", "once: --trace FILE"),
        ("--rate 1/h", "--service 2s"),
        ("--rate often --service 2s", "--rate 'often' is not understood: write such as 100/h"),
        ("--rate 1/h --hours day --service 2s", "--hours 'day' is not understood"),
        ("--rate 1/h --hours 18-8 --service 2s", "must lie in 0-24"),
        ("--rate 999/s --days 30 --service 2s", "over 2,000,000 requests"),
        ("--rate 1/h --service soon", "--service"),
        ("--rate 1/h --service 9s..2s", "--service 9s..2s: median 9 s"),
        ("--rate 1/h --service 2s --gpus A11G", "did you mean A10G"),
        ("--rate 1/h --service 2s --gpu-memory 90GB", "fits none of T4, A10G, A100"),
        ("--rate 1/h --service 2s --min 5", "--min=5 must lie in 0..4"),
        ("--rate 1/h --service 2s --window always", "--window: window 'always' must be such as"),
        ("--rate 1/h --service 2s --p95 1s --wait-cost 1", "name one"),
        ("--rate 1/h --service 2s --machine-cost dear", "must be dollars such as 0.76"),
        ("--rate 1/h --service 2s --seeds 0", "--seeds 0 must lie in 1..31"),
        ("--rate 1/h --service 2s --svg /", "--svg / is a directory: name a file"),
        ("--rate 1/h --service 2s --html none/plan.html", "there is no directory none"),
        ("--rate 0/day --service 2s", "--rate 0/day must be over 0"),
        ("--rate 1/h --service 2s --days nan", "--days nan must be over 0 and at most 400"),
        ("--rate 1/h --service 2s --days inf", "--days inf must be over 0 and at most 400"),
        ("--rate 1/h --service 2s --days 500", "--days 500 must be over 0 and at most 400"),
        ("--rate 1/h --service 2s --burst 0.5", "--burst 0.5 must be at least 1"),
        ("--rate 1/h --service 2s --burst nan", "--burst nan must be at least 1"),
        ("--rate 1/h --service 2s --wait-cost nan", "--wait-cost nan must be dollars, 0 or more"),
        ("--rate 1/h --service 2s --wait-cost -1", "--wait-cost -1 must be dollars, 0 or more"),
        ("--rate 1/h --service 2s --concurrency 0", "concurrency=0"),
        ("--trace none.csv", "--trace none.csv cannot be read: No such file"),
    ],
)
def test_what_cannot_be_planned_is_a_usage_error(coldspark: Shell, words: str, told: str) -> None:
    """With the option and the cure, before anything is played."""
    ran = coldspark("plan", *words.split())
    assert (ran.code, ran.out) == (2, "")
    assert told in " ".join(ran.err.replace("│", "").split())


def test_a_compressed_trace_is_read_and_a_damaged_one_told(
    coldspark: Shell, tmp_path: Path
) -> None:
    """By its first bytes, whatever its name is."""
    whole, cut = tmp_path / "trace.csv.gz", tmp_path / "cut.csv"
    packed = gzip.compress(b"arrival_s,duration_s\n5,2\n9,2\n")
    whole.write_bytes(packed)
    cut.write_bytes(packed[:-12])
    words = ["--gpus", "A10G", "--max", "1", "--no-break-even", "--seeds", "1", "--json"]
    answer = planned(coldspark("plan", "--trace", str(whole), *words))
    assert answer["traffic"]["requests"] == 2
    ran = coldspark("plan", "--trace", str(cut), *words)
    assert (ran.code, ran.out) == (2, "")
    assert "is gzip that is cut off or damaged" in " ".join(ran.err.split())


def test_few_requests_a_month_are_not_none_a_day(coldspark: Shell) -> None:
    """Ten a month are a rate that can be said, and are not rounded to 0 a day."""
    words = ["--rate", "10/month", "--days", "30", "--service", "2s", "--gpus", "A10G"]
    ran = coldspark("plan", *words, "--max", "1", "--no-break-even", "--seeds", "1")
    assert ran.code == 0
    assert re.match(r"\d+ requests in 30d 0h \(0\.\d+ a day\)", ran.out)


def test_seeds_and_windows_do_not_go_together(coldspark: Shell) -> None:
    """Traffic that might have come as well has its days in another order."""
    words = ["--rate", "1/h", "--service", "2s", "--window", "0 8 * * * 8h min=1", *HOUR]
    ran = coldspark("plan", *words, "--seeds", "3")
    assert (ran.code, ran.out) == (2, "")
    assert "--seeds 3 moves days" in " ".join(ran.err.replace("│", "").split())


def test_types_that_are_too_small_are_left_out_and_named(coldspark: Shell, trace: str) -> None:
    """15 GB do not fit a T4."""
    words = ["--service", "2s", "--gpu-memory", "15GB", "--max", "1", "--no-break-even", "--json"]
    answer = planned(coldspark("plan", "--trace", trace, *words))
    assert "T4" not in {row["gpu"] for row in answer["platforms"]}
    assert any("left out: T4" in remark for remark in answer["remarks"])


def test_an_endpoint_without_requests_is_told(coldspark: Shell, api: FakeApi) -> None:
    """There is nothing to plan for."""
    api.endpoints["chat"] = endpoint("chat")
    api.replies["/v1/requests"] = (200, {"requests": [], "is_complete": True})
    ran = coldspark("plan", "--endpoint", "chat", "--last", "2d")
    assert (ran.code, ran.out) == (2, "")
    assert "endpoint chat served no request in the last 2d" in ran.err


def test_ctrl_c_ends_it_without_an_answer(
    coldspark: Shell, trace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 130, nothing written."""

    def interrupted(self: Planner) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Planner, "plan", interrupted)
    report = tmp_path / "plan.html"
    ran = coldspark("plan", "--trace", trace, "--service", "2s", "--html", str(report))
    assert (ran.code, ran.out) == (130, "")
    assert not report.exists()


BOUNDS = ScalePolicy(replicas_min=1, replicas_max=3, concurrency=2, park_timeout_s=0.0)


@pytest.mark.parametrize(
    "policy",
    [
        *candidates(BOUNDS),
        *candidates(ScalePolicy(replicas_max=3), (read_window("0 8 * * *@Asia/Tokyo 90m min=2"),)),
    ],
    ids=lambda policy: policy.name,
)
def test_every_policy_that_can_be_recommended_can_be_deployed(
    policy: CandidatePolicy, tmp_path: Path
) -> None:
    """The block reads back as the very policy that was played."""
    (tmp_path / "inference.py").touch()
    (tmp_path / "coldspark.toml").write_text('name = "planned"\n' + as_toml(policy.scale))
    asked = read_project(tmp_path).definition["scale"]
    assert _scale(msgspec.convert(asked, ScaleBody)) == policy.scale
