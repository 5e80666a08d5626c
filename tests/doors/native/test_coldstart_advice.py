"""Each rule speaks when what it says was measured, and is silent otherwise."""

from dataclasses import replace

import pytest
from cold_starts import HANDLER, STOCK, facts, idle_after, template, wake, with_model

from coldspark.doors.native.coldstart import advice
from coldspark.doors.native.coldstart.facts import ColdstartFacts
from coldspark.node.warmth import WakeLevel
from coldspark.spec.types import Command, GpuRequest, Resources

FETCHED = wake(WakeLevel.REMOTE, fetched_us=3_200_000, booted_us=900_000)
THREADS = "the program started threads at import: poller"
SOCKET = "its model is loaded after the fork: a socket was opened while the model was loaded"


def test_without_a_wake_there_is_no_advice() -> None:
    """Whatever the template says: nobody waited for it yet."""
    bad = template(is_fork_safe=False, reason=THREADS)
    assert advice.advise(facts(template=bad)) == []


def test_a_fast_wake_needs_no_advice() -> None:
    """A standby woken in 20 ms, all its model shared."""
    quick = wake(booted_us=3_000, loaded_us=100, inferred_us=16_000, gap_ms=400_000)
    assert advice.advise(facts(quick, quick, quick)) == []


def test_a_model_fetched_in_the_wake_is_told_with_its_part() -> None:
    """Of s3 it may be brought near; of a file its directory may be named."""
    remote = advice.model_fetched_in_wake(facts(FETCHED, spec=with_model("s3://bucket/model/")))
    assert remote is not None
    assert "fetched took 3.2 s of 4.1 s" in remote.finding
    assert "file:///" in remote.cure
    assert (remote.gain_us, remote.wakes) == (3_200_000, 1)
    local = advice.model_fetched_in_wake(facts(FETCHED, spec=with_model("file:///m.tar.gz")))
    assert local is not None
    assert "unpacked directory" in local.cure


def test_only_wakes_that_fetched_count() -> None:
    """Nineteen fast ones do not hide the slow one, nor does it speak for them."""
    fast = [wake(fetched_us=600, booted_us=4_000)] * 19
    told = advice.model_fetched_in_wake(facts(FETCHED, *fast, spec=with_model("s3://b/m/")))
    assert told is not None
    assert told.wakes == 1


@pytest.mark.parametrize("model", [None, f"artifact:{'0' * 64}"])
def test_what_is_uploaded_is_not_said_to_be_fetched(model: str | None) -> None:
    """It is on the server's disk since its upload."""
    spec = HANDLER if model is None else with_model(model)
    assert advice.model_fetched_in_wake(facts(FETCHED, spec=spec)) is None


def test_an_environment_built_in_the_wake_is_no_model_fetched() -> None:
    """The build had progress to tell; the same time is not blamed twice."""
    built = wake(WakeLevel.REMOTE, is_built=True, fetched_us=30_000_000)
    told = facts(built, spec=with_model("s3://b/m/"))
    found = advice.environment_built_in_wake(told)
    assert found is not None
    assert "--wake" in found.cure
    assert advice.model_fetched_in_wake(told) is None
    assert advice.environment_built_in_wake(facts(FETCHED)) is None


def test_a_forgotten_start_blames_the_model_only_where_nothing_is_built() -> None:
    """After a restart it is not known what was fetched, unless there is no environment."""
    unknown = wake(None, fetched_us=3_000_000)
    told = facts(unknown, spec=with_model("s3://b/m/"))
    assert advice.model_fetched_in_wake(told) is not None
    own = replace(told, stock=replace(STOCK, has_own_environment=True))
    assert advice.model_fetched_in_wake(own) is None


def test_waiting_for_room_is_told() -> None:
    """Only when it was a good part of the start."""
    assert advice.waited_for_capacity(facts(wake(placed_us=2_000_000, booted_us=5_000))) is not None
    assert advice.waited_for_capacity(facts(wake(placed_us=200_000, loaded_us=9_000_000))) is None


@pytest.mark.parametrize(
    ("reason", "cure"),
    [
        (THREADS, "start them in model_fn"),
        ("the program opened /dev/nvidia0 at import; a fork cannot use the GPU", "in model_fn"),
        ("a trial fork hung for 2 s; threads left: python", "no thread pool at import"),
    ],
)
def test_a_program_that_cannot_be_forked_is_told_why(reason: str, cure: str) -> None:
    """The gain is the import, as the template measured it, but no more than the wakes waited."""
    unsafe = template(is_fork_safe=False, has_model=False, reason=reason)
    told = advice.imports_afresh(facts(wake(loaded_us=2_500_000), template=unsafe))
    assert told is not None
    assert reason in told.finding
    assert cure in told.cure
    assert told.gain_us == 1_900_000
    capped = advice.imports_afresh(facts(wake(loaded_us=400_000), template=unsafe))
    assert capped is not None
    assert capped.gain_us == 400_000
    assert advice.imports_afresh(facts(wake(loaded_us=2_500_000))) is None


@pytest.mark.parametrize(
    ("reason", "cure"),
    [
        (SOCKET, "open connections at the first call"),
        ("its model is loaded after the fork: the program started threads at import: t", "not in"),
        ("its model is loaded after the fork: loading it here failed: no GPU", "without a GPU"),
    ],
)
def test_a_model_loaded_after_the_fork_is_told_why(reason: str, cure: str) -> None:
    """The gain is what forked replicas took to load it."""
    bare = template(has_model=False, load_us=None, reason=reason)
    told = advice.model_after_fork(facts(wake(loaded_us=250_000), template=bare))
    assert told is not None
    assert cure in told.cure
    assert told.gain_us == 250_000


def test_a_model_of_a_gpu_is_loaded_after_the_fork_by_design() -> None:
    """There is no reason then, and nothing to move."""
    bare = template(has_model=False, load_us=None, reason=None)
    assert advice.model_after_fork(facts(wake(loaded_us=9_000_000), template=bare)) is None


def test_a_model_of_a_gpu_can_be_split_unless_it_is() -> None:
    """What needs no device is done before the fork; a short load is not worth it."""
    bare = template(has_model=False, load_us=None, reason=None)
    on_gpu = replace(HANDLER, resources=Resources(gpus=(GpuRequest(type="A10G"),)))
    long, short = wake(loaded_us=9_000_000), wake(loaded_us=20_000)
    told = advice.gpu_model_after_fork(facts(long, template=bare, spec=on_gpu))
    assert told is not None
    assert "split it with setup_fn" in told.cure
    assert told.gain_us == 9_000_000
    split = replace(bare, has_setup=True)
    assert advice.gpu_model_after_fork(facts(long, template=split, spec=on_gpu)) is None
    assert advice.gpu_model_after_fork(facts(short, template=bare, spec=on_gpu)) is None
    assert advice.gpu_model_after_fork(facts(long, template=bare)) is None


def test_a_model_that_is_unsafe_before_the_fork_can_be_split_unless_it_is() -> None:
    """The setup stays before the fork; one that is unsafe itself is no cure."""
    slow = wake(loaded_us=250_000)
    for has_setup, reason, is_advised in (
        (False, SOCKET, True),
        (True, SOCKET, False),
        (False, f"its setup runs after the fork: {THREADS}", False),
    ):
        bare = template(has_model=False, has_setup=has_setup, load_us=None, reason=reason)
        told = advice.model_after_fork(facts(slow, template=bare))
        assert told is not None
        assert ("setup_fn" in told.cure) is is_advised


def test_a_template_is_said_to_be_dropped_when_wakes_came_later_than_it_is_kept() -> None:
    """An endpoint that sleeps through both timeouts imports at each wake."""
    late = wake(WakeLevel.CACHED, gap_ms=400_000, loaded_us=2_100_000)
    told = advice.template_dropped(facts(late, spec=idle_after(60)))
    assert told is not None
    assert told.gain_us == 1_900_000 + 210_000
    assert "6m 0s" in told.cure
    first = wake(WakeLevel.CACHED, gap_ms=None, loaded_us=2_100_000)
    early = wake(WakeLevel.CACHED, gap_ms=200_000, loaded_us=2_100_000)
    assert advice.template_dropped(facts(first, early, spec=idle_after(60))) is None


def test_weights_that_became_private_memory_are_told() -> None:
    """27 µs a megabyte at each fork, and no more than the forks took."""
    stock = replace(STOCK, model_bytes=1_880_000_000)
    copied = template(load_private_bytes=1_900_000_000)
    forked = wake(WakeLevel.TEMPLATED, booted_us=70_000)
    told = advice.model_made_private(facts(forked, template=copied, stock=stock))
    assert told is not None
    assert "1.88 GB of model made 1.9 GB of private memory" in told.finding
    assert told.gain_us == 51_300
    assert advice.model_made_private(facts(forked, stock=stock)) is None
    assert advice.model_made_private(facts(wake(), template=copied, stock=stock)) is None


def test_a_slow_first_call_is_told_against_the_warm_ones() -> None:
    """Only with enough warm calls to compare, and a model that is loaded before the fork."""
    first = wake(inferred_us=900_000)
    told = advice.first_call_is_slow(facts(first, warm_inferred_us=(20_000,) * 5))
    assert told is not None
    assert "model_warmup_fn" in told.cure
    assert told.gain_us == 880_000
    assert advice.first_call_is_slow(facts(first, warm_inferred_us=(20_000,) * 4)) is None
    assert advice.first_call_is_slow(facts(first, warm_inferred_us=(600_000,) * 9)) is None
    bare = template(has_model=False)
    none = facts(first, template=bare, warm_inferred_us=(20_000,) * 5)
    assert advice.first_call_is_slow(none) is None


def test_a_replica_that_went_too_soon_is_told_with_the_timeout_that_would_do() -> None:
    """Gaps below the timeout were no idle ends, and long ones are not worth waiting for."""
    slow = [wake(gap_ms=gap_ms, loaded_us=500_000) for gap_ms in (70_000, 90_500, 61_000)]
    told = advice.replica_ended_too_soon(facts(*slow, spec=idle_after(60)))
    assert told is not None
    assert "raise idle_timeout to 92 s" in told.cure
    assert (told.gain_us, told.wakes) == (500_000, 3)
    rare = [wake(gap_ms=3_600_000, loaded_us=500_000)] * 4
    assert advice.replica_ended_too_soon(facts(*slow, *rare, spec=idle_after(60))) is None
    busy = [wake(gap_ms=0, loaded_us=500_000)] * 9
    assert advice.replica_ended_too_soon(facts(*busy, spec=idle_after(60))) is None


def test_the_largest_gain_over_all_wakes_comes_first() -> None:
    """A small gain at each wake may outweigh a large one at the first."""
    unsafe = template(is_fork_safe=False, has_model=False, reason=THREADS)
    usual = [wake(WakeLevel.CACHED, loaded_us=1_900_000)] * 9
    told = advice.advise(facts(FETCHED, *usual, spec=with_model("s3://b/m/"), template=unsafe))
    assert [one.rule for one in told] == ["imports_afresh", "model_fetched_in_wake"]


def test_every_rule_is_in_the_table_and_named_after_its_function() -> None:
    """A rule that nobody calls advises nobody."""
    command = replace(HANDLER, handler=None, command=Command(argv=("serve",)))
    for rule in advice.RULES:
        assert getattr(advice, rule.__name__) is rule
        assert rule(_silent()) is None
        assert rule(replace(_silent(), spec=command, template=None)) is None


def _silent() -> ColdstartFacts:
    return facts(wake(booted_us=2_000))
