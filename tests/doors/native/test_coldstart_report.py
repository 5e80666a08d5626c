"""The report of cold starts, requests by their length, and warmth: over HTTP."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
from cold_starts import line, start, template
from fake_services import FakeUsages, Rig
from gateway_fakes import REPLICA, definition, view
from msgspec import structs
from native_client import served
from wires import run

from coldspark import clock
from coldspark.doors.native import ledger_pages
from coldspark.doors.native.coldstart import facts
from coldspark.node.warmth import NextStart, WakeLevel
from coldspark.spec.types import Command, ReplicaId, RevisionId, Spec

Json = dict[str, Any]


def rig(*lines: Any) -> Rig:
    """Return a rig whose ledger holds these lines, newest first."""
    made = Rig()
    made.platform.views["churn"] = view(definition(), ())
    made.usages.lines = list(lines)
    return made


def ask(rig: Rig, path: str) -> Json:
    """Return what the API says."""
    answers: list[Json] = []

    async def body(client: httpx.AsyncClient) -> None:
        reply = await client.get(path)
        answers.append({"status": reply.status_code} | reply.json())

    served(rig, body)
    return answers[0]


def report(rig: Rig, path: str = "/v1/endpoints/churn/coldstart") -> Json:
    """Return the report of the only variant."""
    (variant,) = ask(rig, path)["variants"]
    found: Json = variant
    return found


def test_a_report_without_cold_starts_has_no_figures_and_no_advice() -> None:
    """Warm requests are no wakes."""
    now_ms = clock.wall_ms()
    told = report(rig(line("a", at_ms=now_ms, is_cold=False, inferred_us=9)))
    assert told["wakes"] == 0
    assert told["stages"] == told["rungs"] == told["advice"] == []
    assert told["stock"]["code_bytes"] == 1_000


def test_a_wake_is_one_start_however_many_waited_for_it() -> None:
    """It counts by the request that waited the longest."""
    now_ms = clock.wall_ms()
    made = rig(
        line("c", "r-2", at_ms=now_ms, booted_us=4_000),
        line("b", "r-1", at_ms=now_ms - 5, loaded_us=2_000_000),
        line("a", "r-1", at_ms=now_ms - 9, loaded_us=2_100_000),
    )
    told = report(made)
    assert (told["wakes"], told["cold_requests"]) == (2, 3)
    stages = {row["stage"]: (row["p50_us"], row["p95_us"]) for row in told["stages"]}
    assert stages["loaded"] == (0, 2_100_000)
    assert stages["start"] == (4_000, 2_100_000)


def test_wakes_are_told_apart_by_the_rung_they_started_from() -> None:
    """What the server has forgotten is called unknown."""
    now_ms = clock.wall_ms()
    made = rig(
        line("c", "r-3", at_ms=now_ms, booted_us=4_000),
        line("b", "r-2", at_ms=now_ms, booted_us=5_000),
        line("a", "r-1", at_ms=now_ms, loaded_us=900_000),
    )
    made.warmth.starts = {
        "r-1": start(WakeLevel.CACHED, "r-1"),
        "r-2": start(WakeLevel.STANDBY, "r-2"),
    }
    assert [(row["rung"], row["wakes"], row["p50_us"]) for row in report(made)["rungs"]] == [
        ("cached", 1, 900_000),
        ("standby", 1, 5_000),
        ("unknown", 1, 4_000),
    ]


def test_each_wake_of_a_replica_counts_by_the_rung_that_it_came_from() -> None:
    """Started once from a standby, it was parked and woken twice; two waited for the last."""
    now_ms = clock.wall_ms()
    made = rig(
        line("d", "r-1", at_ms=now_ms - 999, loaded_us=1_000),
        line("c", "r-1", at_ms=now_ms - 1_000, loaded_us=2_000),
        line("b", "r-1", at_ms=now_ms - 50_000, loaded_us=3_000),
        line("a", "r-1", at_ms=now_ms - 90_000, booted_us=50_000, loaded_us=40_000),
    )
    woken = (now_ms - 49_999, now_ms - 999)
    made.warmth.starts = {"r-1": start(WakeLevel.STANDBY, "r-1", unparked_ms=woken)}
    told = report(made)
    assert (told["wakes"], told["cold_requests"]) == (3, 4)
    assert [(row["rung"], row["wakes"], row["p50_us"]) for row in told["rungs"]] == [
        ("standby", 1, 90_000),
        ("parked", 2, 2_000),
    ]


def test_a_template_that_is_gone_is_known_by_its_last_wake() -> None:
    """Its reason and its times are what advice is made of."""
    reason = "the program started threads at import: poller"
    made = rig(line("a", "r-1", at_ms=clock.wall_ms(), loaded_us=2_000_000))
    gone = template(is_fork_safe=False, has_model=False, reason=reason)
    made.warmth.starts = {"r-1": start(WakeLevel.CACHED, template=gone)}
    told = report(made)
    assert told["template"]["reason"] == reason
    assert [one["rule"] for one in told["advice"]] == ["imports_afresh"]
    assert told["advice"][0]["gain_us"] == 1_900_000


def test_a_command_has_no_template_of_its_own() -> None:
    """What it is forked from is everybody's, and its imports are not the command's."""
    made = rig(line("a", "r-1", at_ms=clock.wall_ms(), loaded_us=2_000_000))
    made.warmth.starts = {"r-1": start(WakeLevel.CACHED)}
    (variant,) = made.platform.views["churn"].variants
    spec = Spec(command=Command(argv=("serve",)))
    changed = replace(variant, revision=replace(variant.revision, spec=spec))
    made.platform.views["churn"] = replace(made.platform.views["churn"], variants=(changed,))
    told = report(made)
    assert (told["wakes"], told["template"], told["advice"]) == (1, None, [])


def test_failed_starts_and_earlier_revisions_are_counted_apart() -> None:
    """They are in no figure."""
    now_ms = clock.wall_ms()
    old = structs.replace(
        line("b", "r-2", at_ms=now_ms, loaded_us=5), revision=RevisionId("f" * 16)
    )
    made = rig(line("a", None, at_ms=now_ms, error="StartFailed", loaded_us=7), old)
    told = report(made)
    assert (told["wakes"], told["failed"], told["older_wakes"]) == (0, 1, 1)


def test_only_the_last_days_count() -> None:
    """Seven, unless told otherwise."""
    days_8_ms = clock.wall_ms() - 8 * 86_400_000
    made = rig(line("a", at_ms=days_8_ms, booted_us=5))
    assert report(made)["wakes"] == 0
    assert report(made, "/v1/endpoints/churn/coldstart?days=30")["wakes"] == 1
    assert ask(made, "/v1/endpoints/churn/coldstart?days=0")["status"] == 400
    assert ask(made, "/v1/endpoints/none/coldstart")["status"] == 404


def test_a_gap_is_measured_from_the_end_of_the_last_request() -> None:
    """The longest one before: requests overlap."""
    lines = [
        line("c", "r-2", at_ms=10_000, booted_us=1_000),
        line("b", "r-1", at_ms=2_000, is_cold=False, inferred_us=1_000),
        line("a", "r-1", at_ms=1_000, loaded_us=5_000_000),
    ]
    told = facts.count(lines, RevisionId("0123456789abcdef"))
    assert [wake.gap_ms for wake in told.wakes] == [4_000, None]


def test_a_percentile_is_a_value_that_was_measured() -> None:
    """The nearest rank, not something between two."""
    assert facts.percentile([4, 1, 3, 2], 50) == 2
    assert facts.percentile([1, 2, 3, 4], 95) == 4
    assert facts.percentile([7], 50) == 7


def test_the_longest_requests_come_first_by_any_stage() -> None:
    """Sorted over the whole stretch, not over the newest few."""
    made = rig(
        line("c", is_cold=False, inferred_us=50),
        line("b", loaded_us=900, inferred_us=10),
        line("a", booted_us=800, inferred_us=300),
    )

    def found(query: str) -> list[str]:
        return [row["request"] for row in ask(made, f"/v1/requests?{query}")["requests"]]

    assert found("sort=duration") == ["a", "b", "c"]
    assert found("sort=loaded&limit=1") == ["b"]
    assert found("cold=true") == ["b", "a"]
    assert found("since=1700000000001") == []
    wrong = ask(made, "/v1/requests?sort=lunch")
    assert wrong["error"]["field"] == "sort"


def test_a_request_tells_what_its_replica_was_started_from() -> None:
    """And about what the start cost, at the rate of its own busy time."""
    made = rig(
        structs.replace(line("a", "r-1", loaded_us=20_000, inferred_us=9_000), busy_nanos=1_800)
    )
    assert ask(made, "/v1/requests/a")["start"] is None
    made.warmth.starts = {"r-1": start(WakeLevel.STANDBY)}
    told = ask(made, "/v1/requests/a")
    assert told["start"]["rung"] == "standby"
    assert told["start"]["template"]["import_us"] == 1_900_000
    assert told["start_nanos_estimated"] == 4_000


@pytest.mark.parametrize(
    ("states", "rung"),
    [((), "cached"), (("ready",), "ready"), (("ready", "busy"), "busy"), (("parked",), "parked")],
)
def test_warmth_is_the_highest_rung_of_its_replicas(states: tuple[str, ...], rung: str) -> None:
    """Without a replica it is what is held for the next."""
    made = rig()
    replicas = tuple(
        replace(REPLICA, replica=ReplicaId(f"r-{n}"), state=state) for n, state in enumerate(states)
    )
    made.platform.views["churn"] = view(definition(), replicas)
    (endpoint,) = ask(made, "/v1/endpoints")["endpoints"]
    assert endpoint["variants"][0]["warmth"]["rung"] == rung


def test_warmth_says_why_it_is_not_a_rung_higher() -> None:
    """With what is held, and for how long."""
    made = rig()
    held = template(users=0, idle_s=12.0)
    made.warmth.held = NextStart(rung=WakeLevel.STANDBY, template=held, why="idle replicas end")
    answer = ask(made, "/v1/endpoints")
    warmth = answer["endpoints"][0]["variants"][0]["warmth"]
    assert (warmth["why"], warmth["idle_s"]) == ("idle replicas end", 12.0)
    assert warmth["template"]["memory_bytes"] == 40_000_000
    assert answer["templates"]["templates_max"] == 16
    starting = replace(REPLICA, state="starting")
    made.platform.views["churn"] = view(definition(), (starting,))
    again = ask(made, "/v1/endpoints/churn")["variants"][0]["warmth"]
    assert (again["rung"], again["why"]) == ("standby", "a replica is starting")


def read(lines: list[Any], **bounds: int) -> ledger_pages.LedgerPage:
    """Read a ledger in small pages."""
    usages = FakeUsages()
    usages.lines = lines
    return run(ledger_pages.read_page(usages, None, None, **bounds))


def test_a_stretch_is_read_page_by_page_and_no_line_twice() -> None:
    """Also where a millisecond has lines on two pages."""
    lines = [line(f"r-{n}", at_ms=1_000 - n // 2) for n in range(11)]
    whole = read(lines, page_lines=4)
    assert [one.request for one in whole.lines] == [one.request for one in lines]
    assert whole.is_complete


def test_a_stretch_is_bounded_and_says_so() -> None:
    """By lines, and by a millisecond that fills a page for ever."""
    lines = [line(f"r-{n}", at_ms=1_000 - n) for n in range(11)]
    part = read(lines, page_lines=4, lines_max=6)
    assert (len(part.lines), part.is_complete) == (6, False)
    stuck = read([line(f"r-{n}", at_ms=5) for n in range(11)], page_lines=4)
    assert (len(stuck.lines), stuck.is_complete) == (4, False)
