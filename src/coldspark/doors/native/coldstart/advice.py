"""What would make an endpoint's cold starts faster: a table of rules, each true of what was seen.

A rule looks at the facts and returns its advice, or None. Every gain is an estimate, taken from
stages that were measured here; a rule whose gain nothing measured says nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from coldspark.doors.native.coldstart.facts import ColdstartFacts, Wake, median
from coldspark.node.warmth import WakeLevel
from coldspark.spec.units import format_duration, format_size

_MARKED_US = 100_000
"""What is shorter is not worth a person's time."""
_MARKED_SHARE = 0.1
_SMALL_US = 10_000
"""What each replica does again may be shorter than that, but not this short."""
_FORK_US_PER_MB = 27
"""Copying the page tables of private memory, as measured (1 GB: 27 ms)."""
_MODEL_BYTES_MIN = 64 * 10**6
_WARM_MIN = 5
_SOON = 4
"""How many idle timeouts after the last request a wake counts as avoidable."""
_SOON_MIN = 3
_FORKED = (WakeLevel.TEMPLATED, WakeLevel.STANDBY)
_AFTER_FORK = "its model is loaded after the fork: "


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdstartAdvice:
    """One thing that would make wakes faster."""

    rule: str
    finding: str
    cure: str
    gain_us: int
    """Estimated, of each wake that it concerns."""
    wakes: int
    """How many of the wakes it concerns."""


Rule = Callable[[ColdstartFacts], ColdstartAdvice | None]


def advise(facts: ColdstartFacts) -> list[ColdstartAdvice]:
    """Return what holds, the largest gain over all wakes first; nothing without a wake."""
    if not facts.wakes:
        return []
    found = [advice for rule in RULES if (advice := rule(facts)) is not None]
    return sorted(found, key=lambda advice: advice.gain_us * advice.wakes, reverse=True)


def environment_built_in_wake(facts: ColdstartFacts) -> ColdstartAdvice | None:
    """The first caller waited for packages to be installed."""
    wakes = [wake for wake in facts.wakes if wake.start and wake.start.is_environment_built]
    return _of_stage(
        "environment_built_in_wake",
        wakes,
        "fetched",
        "the environment was built while a caller waited",
        "deploy with --wake, and let callers come once it is awake",
    )


def model_fetched_in_wake(facts: ColdstartFacts) -> ColdstartAdvice | None:
    """The model was brought to this machine while a caller waited."""
    model = facts.spec.model
    if model is None or model.startswith("artifact:"):
        return None
    wakes = [wake for wake in facts.wakes if _waited_for_model(facts, wake)]
    cure = "deploy with --wake, so that no caller waits for the first fetch"
    if model.startswith("s3://"):
        cure += ", or keep the model on this machine and name it by file:///"
    else:
        cure += ", or name its unpacked directory: that is used in place"
    finding = "the model was fetched while a caller waited"
    return _of_stage("model_fetched_in_wake", wakes, "fetched", finding, cure)


def waited_for_capacity(facts: ColdstartFacts) -> ColdstartAdvice | None:
    """Something else held what the replica needed."""
    return _of_stage(
        "waited_for_room",
        facts.wakes,
        "placed",
        "the start waited for room on a machine",
        "ask for less memory, vcpus or gpu here, or shorten the idle_timeout of what held it"
        " (coldspark ls --warmth)",
    )


def imports_afresh(facts: ColdstartFacts) -> ColdstartAdvice | None:
    """The program cannot be forked, so every replica imports it again."""
    template = facts.template
    if template is None or not template.is_settled or template.is_fork_safe:
        return None
    if template.import_us is None or template.reason is None:
        return None
    if not facts.starts:
        return None
    gain_us = min(template.import_us, median(wake.stage_us("loaded") for wake in facts.starts))
    if gain_us < _SMALL_US:
        return None
    return ColdstartAdvice(
        rule="imports_afresh",
        finding=f"each replica imports afresh ({_time(template.import_us)}): {template.reason}",
        cure=_cure_of_import(template.reason),
        gain_us=gain_us,
        wakes=len(facts.starts),
    )


def model_after_fork(facts: ColdstartFacts) -> ColdstartAdvice | None:
    """The imports are shared, but each replica loads the model for itself."""
    template = facts.template
    if template is None or not template.is_fork_safe or template.has_model:
        return None
    reason = template.reason
    loads_us = [wake.stage_us("loaded") for wake in facts.wakes_from(*_FORKED)]
    if reason is None or not loads_us or median(loads_us) < _SMALL_US:
        return None
    reason = reason.removeprefix(_AFTER_FORK)
    cure = _cure_of_load(reason)
    if not template.has_setup and "setup" not in reason:
        cure += "; or split it with setup_fn, whose part is done before the fork"
    return ColdstartAdvice(
        rule="model_after_fork",
        finding=f"each replica loads the model for itself ({_time(median(loads_us))}): {reason}",
        cure=cure,
        gain_us=median(loads_us),
        wakes=len(loads_us),
    )


def gpu_model_after_fork(facts: ColdstartFacts) -> ColdstartAdvice | None:
    """On a GPU the model is loaded after the fork; what needs no device can come before it."""
    template = facts.template
    if not facts.spec.resources.gpus or template is None or not template.is_fork_safe:
        return None
    if template.has_model or template.has_setup or template.reason is not None:
        return None
    loads_us = [wake.stage_us("loaded") for wake in facts.wakes_from(*_FORKED)]
    if not loads_us or median(loads_us) < _MARKED_US:
        return None
    return ColdstartAdvice(
        rule="gpu_model_after_fork",
        finding=f"the model is loaded after the fork ({_time(median(loads_us))}), as a GPU needs",
        cure="split it with setup_fn(model_dir): do what needs no device there (tokenizer,"
        " skeleton, weights mapped), and only copy to the device in model_fn(model_dir, setup)",
        gain_us=median(loads_us),
        wakes=len(loads_us),
    )


def template_dropped(facts: ColdstartFacts) -> ColdstartAdvice | None:
    """The endpoint is called so rarely that its template is gone each time."""
    template = facts.template
    if template is None or not template.is_fork_safe or template.import_us is None:
        return None
    kept_s = (facts.spec.scale.idle_timeout_s or 0.0) + facts.pool.idle_timeout_s
    gaps = [wake.gap_ms for wake in facts.wakes_from(WakeLevel.CACHED) if wake.gap_ms is not None]
    wakes = len([gap_ms for gap_ms in gaps if gap_ms >= kept_s * 1000])
    gain_us = template.import_us + (template.load_us or 0)
    if not wakes or gain_us < _MARKED_US:
        return None
    return ColdstartAdvice(
        rule="template_dropped",
        finding=f"imports and model take {_time(gain_us)}, and the template is dropped after"
        f" {facts.pool.idle_timeout_s:g} s without a replica",
        cure=f"call it at least every {format_duration(kept_s)}, or raise idle_timeout, or keep"
        " one replica (min = 1, which is billed)",
        gain_us=gain_us,
        wakes=wakes,
    )


def model_made_private(facts: ColdstartFacts) -> ColdstartAdvice | None:
    """Weights that are converted or read, not mapped, are copied at each fork."""
    template, model_bytes = facts.template, facts.stock.model_bytes or 0
    if template is None or not template.has_model or model_bytes < _MODEL_BYTES_MIN:
        return None
    private_bytes = template.load_private_bytes or 0
    forks_us = [wake.stage_us("booted") for wake in facts.wakes_from(WakeLevel.TEMPLATED)]
    if private_bytes < model_bytes / 2 or not forks_us:
        return None
    return ColdstartAdvice(
        rule="model_made_private",
        finding=f"loading {format_size(model_bytes)} of model made {format_size(private_bytes)}"
        " of private memory: the weights are converted or copied while loading",
        cure="store the weights in the type that they are used in, and map them (safetensors, or"
        " mmap=True): forks are then faster, and replicas share them",
        gain_us=min(median(forks_us), private_bytes * _FORK_US_PER_MB // 10**6),
        wakes=len(forks_us),
    )


def first_call_is_slow(facts: ColdstartFacts) -> ColdstartAdvice | None:
    """The first call of each replica does work that the template could have done once."""
    if facts.template is None or not facts.template.has_model:
        return None
    if len(facts.warm_inferred_us) < _WARM_MIN or not facts.starts:
        return None
    cold_us = median(wake.stage_us("inferred") for wake in facts.starts)
    warm_us = median(facts.warm_inferred_us)
    if cold_us - warm_us < _MARKED_US / 2 or cold_us < 2 * warm_us:
        return None
    return ColdstartAdvice(
        rule="first_call_is_slow",
        finding=f"a replica's first call takes {_time(cold_us)}, later ones {_time(warm_us)}",
        cure="call the model once in model_warmup_fn: the process that stands by runs it ahead"
        " of its order",
        gain_us=cold_us - warm_us,
        wakes=len(facts.starts),
    )


def replica_ended_too_soon(facts: ColdstartFacts) -> ColdstartAdvice | None:
    """Many wakes came shortly after the idle replica had ended."""
    if facts.spec.scale.idle_timeout_s is None:
        # It is learned from these very gaps.
        return None
    timeout_ms = facts.spec.scale.idle_timeout_s * 1000
    gaps = [wake.gap_ms for wake in facts.wakes if wake.gap_ms is not None]
    soon = [gap_ms for gap_ms in gaps if timeout_ms <= gap_ms <= _SOON * timeout_ms]
    gain_us = median(wake.start_us for wake in facts.wakes)
    if len(soon) < _SOON_MIN or len(soon) * 2 < len(gaps) or gain_us < _MARKED_US:
        return None
    longest_s = -(-max(soon) // 1000)
    return ColdstartAdvice(
        rule="replica_went_too_soon",
        finding=f"{len(soon)} of {len(gaps)} wakes came within {format_duration(longest_s)} of the"
        f" last request; an idle replica ends after {format_duration(timeout_ms / 1000)}",
        cure=f"raise idle_timeout to {longest_s + 1} s: idle time is billed, so compare both with"
        " coldspark bill",
        gain_us=gain_us,
        wakes=len(soon),
    )


RULES: tuple[Rule, ...] = (
    environment_built_in_wake,
    model_fetched_in_wake,
    waited_for_capacity,
    imports_afresh,
    model_after_fork,
    gpu_model_after_fork,
    template_dropped,
    model_made_private,
    first_call_is_slow,
    replica_ended_too_soon,
)


def _of_stage(
    rule: str, wakes: Iterable[Wake], stage: str, finding: str, cure: str
) -> ColdstartAdvice | None:
    """Advise on a stage, from the wakes in which it was long and a good part of the start."""
    marked = [wake for wake in wakes if _is_marked(wake.stage_us(stage), wake.start_us)]
    if not marked:
        return None
    stage_us = median(wake.stage_us(stage) for wake in marked)
    whole_us = median(wake.start_us for wake in marked)
    return ColdstartAdvice(
        rule=rule,
        finding=f"{finding}: {stage} took {_time(stage_us)} of {_time(whole_us)}",
        cure=cure,
        gain_us=stage_us,
        wakes=len(marked),
    )


def _is_marked(stage_us: int, start_us: int) -> bool:
    return stage_us >= _MARKED_US and stage_us >= _MARKED_SHARE * start_us


def _waited_for_model(facts: ColdstartFacts, wake: Wake) -> bool:
    """Return whether what was fetched can only have been the model."""
    if wake.start is not None:
        return not wake.start.is_environment_built
    return facts.stock.has_own_environment is False


def _cure_of_import(reason: str) -> str:
    if "started threads" in reason:
        return "start them in model_fn, or at the first call: the imports are then shared"
    if "opened /dev/" in reason:
        return "touch the GPU in model_fn, not at import: the imports are then shared"
    if "trial fork" in reason:
        return "use no thread pool at import (move first uses of libraries into model_fn)"
    return "move what the reason names from import into model_fn"


def _cure_of_load(reason: str) -> str:
    if "socket" in reason:
        return "open connections at the first call, or close them before model_fn returns"
    if "started threads" in reason:
        return "start them at the first call, not in model_fn: the model is then shared"
    if "loading it here failed" in reason:
        return "let model_fn work without a GPU and without the replica's own variables"
    return "keep from model_fn what the reason names: the model is then shared"


def _time(us: int) -> str:
    return f"{us} µs" if us < 1_000 else format_duration(us / 1_000_000)
