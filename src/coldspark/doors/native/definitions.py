"""From a deploy's body to the definition that the platform runs, back, and the difference."""

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from coldspark.doors.native.shapes import (
    Change,
    CommandBody,
    DefinitionBody,
    HandlerBody,
    ScaleBody,
    VariantBody,
    WindowBody,
)
from coldspark.errors import InvalidRequest
from coldspark.platform import scheduled_scaling
from coldspark.platform.catalogue import Catalogue
from coldspark.platform.spec_json import revision_of
from coldspark.spec.scaling_rules import read_rule, write_rule
from coldspark.spec.scheduled_scaling import ScheduledWindow
from coldspark.spec.types import (
    ArtifactId,
    Command,
    EndpointDefinition,
    EndpointName,
    HandlerProgram,
    Limits,
    Resources,
    ScalePolicy,
    Spec,
    VariantDefinition,
    VariantName,
    slots_of,
)
from coldspark.spec.units import parse_size

T = TypeVar("T")

_SHA256 = re.compile(r"[0-9a-f]{64}")
_VARIANT_NAME = re.compile(r"(?=.{1,63}$)[A-Za-z0-9](-*[A-Za-z0-9])*")


def definition_of(name: str, body: DefinitionBody, catalogue: Catalogue) -> EndpointDefinition:
    """Return what a body asks for. Raises InvalidRequest with the field."""
    return _valid(
        "name",
        lambda: EndpointDefinition(
            name=EndpointName(name),
            variants=tuple(_variant(one, catalogue) for one in _variants(body)),
        ),
    )


def _variants(body: DefinitionBody) -> list[VariantBody]:
    if body.variants is None:
        return [body]
    short = DefinitionBody(variants=body.variants)
    if body != short:
        raise InvalidRequest(
            "'variants' holds everything; put the other fields into its entries", field="variants"
        )
    return body.variants


def _variant(body: VariantBody, catalogue: Catalogue) -> VariantDefinition:
    if not _VARIANT_NAME.fullmatch(body.name):
        raise InvalidRequest(
            f"variant name {body.name!r} must be 1-63 letters, digits and single hyphens",
            field="name",
        )
    spec = _spec(body, catalogue)
    return _valid(
        "weight",
        lambda: VariantDefinition(
            name=VariantName(body.name), revision=revision_of(spec), weight=body.weight
        ),
    )


def _spec(body: VariantBody, catalogue: Catalogue) -> Spec:
    if (body.handler is None) == (body.command is None):
        raise InvalidRequest("say what runs: either 'handler' or 'command'", field="handler")
    return _valid(
        "handler",
        lambda: Spec(
            handler=_handler(body.handler),
            command=_command(body.command),
            code=_artifact(body.code),
            model=_model(body.model),
            environment=tuple(sorted(body.environment.items())),
            resources=_resources(body, catalogue),
            scale=_valid("scale", lambda: _scale(body.scale)),
            limits=_valid("limits", lambda: Limits(**msgspec.structs.asdict(body.limits))),
        ),
    )


def _handler(body: HandlerBody | str | None) -> HandlerProgram | None:
    if body is None:
        return None
    if isinstance(body, str):
        body = HandlerBody(program=body)
    return HandlerProgram(
        program=body.program,
        requirements=tuple(body.requirements),
        overrides=tuple(body.overrides),
    )


def _command(body: CommandBody | list[str] | None) -> Command | None:
    if body is None:
        return None
    if isinstance(body, list):
        body = CommandBody(argv=body)
    given = body
    return _valid(
        "command",
        lambda: Command(
            argv=tuple(given.argv),
            ping_path=given.ping_path,
            invoke_path=given.invoke_path,
            park_path=given.park_path,
            unpark_path=given.unpark_path,
            requirements=tuple(given.requirements),
            overrides=tuple(given.overrides),
        ),
    )


def _artifact(code: str | None) -> ArtifactId | None:
    if code is not None and not _SHA256.fullmatch(code):
        raise InvalidRequest(f"code={code!r} must be 64 hex digits: a SHA-256", field="code")
    return None if code is None else ArtifactId(code)


def _model(model: str | None) -> str | None:
    if model is None or model.startswith(("file:///", "s3://")):
        return model
    if model.startswith("artifact:") and _SHA256.fullmatch(model.removeprefix("artifact:")):
        return model
    raise InvalidRequest(
        f"model={model!r} must be file:///…, s3://… or artifact:<sha256>", field="model"
    )


def _resources(body: VariantBody, catalogue: Catalogue) -> Resources:
    gpu = ",".join(body.gpu) if isinstance(body.gpu, list) else body.gpu
    gpu_memory, memory = body.gpu_memory, body.memory
    return Resources(
        gpus=() if gpu is None else _valid("gpu", lambda: catalogue.parse_gpu(gpu)),
        gpu_memory_bytes=(
            None if gpu_memory is None else _valid("gpu_memory", lambda: parse_size(gpu_memory))
        ),
        memory_bytes=_valid("memory", lambda: parse_size(memory)),
        vcpus=body.vcpus,
    )


def _scale(body: ScaleBody) -> ScalePolicy:
    return ScalePolicy(
        replicas_min=body.min,
        replicas_max=body.max,
        concurrency=slots_of(body.concurrency, body.batch_size_max),
        batch_size_max=body.batch_size_max,
        batch_wait_s=body.batch_wait_s,
        idle_timeout_s=body.idle_timeout_s,
        park_timeout_s=body.park_timeout_s,
        warmth=body.warmth,
        wait_value=body.wait_value,
        patience_s=body.patience_s,
        rule=_valid("scale.rule", lambda: read_rule(body.rule)),
        waste_budget=body.waste_budget,
        failed_starts_max=body.failed_starts_max,
        windows=_valid("scale.windows", lambda: _windows(body.windows)),
    )


def _windows(bodies: list[WindowBody]) -> tuple[ScheduledWindow, ...]:
    found = tuple(
        ScheduledWindow(
            cron=body.cron,
            time_zone=body.time_zone,
            lasts_s=body.lasts_s,
            replicas_min=body.min,
            replicas_max=body.max,
        )
        for body in bodies
    )
    scheduled_scaling.check_schedule(found)
    return found


def _valid(field: str, make: Callable[[], T]) -> T:
    """Make a record; what its own check refuses is the caller's mistake."""
    try:
        return make()
    except ValueError as error:
        raise InvalidRequest(str(error), field=field) from None


# --- back ------------------------------------------------------------------------------------


def spec_fields(spec: Spec) -> dict[str, Any]:
    """Return a spec under the names that a deploy's body has for its parts."""
    resources = spec.resources
    return {
        "handler": None if spec.handler is None else _runtime_fields(HandlerBody, spec.handler),
        "command": None if spec.command is None else _runtime_fields(CommandBody, spec.command),
        "code": spec.code,
        "model": spec.model,
        "multi_model": None
        if spec.multi_model is None
        else {"prefix": spec.multi_model.prefix, "is_cached": spec.multi_model.is_cached},
        "gpu": ",".join(map(str, resources.gpus)) or None,
        "gpu_memory": resources.gpu_memory_bytes,
        "memory": resources.memory_bytes,
        "vcpus": resources.vcpus,
        "scale": _scale_fields(spec.scale),
        "limits": msgspec.to_builtins(spec.limits),
        "environment": dict(spec.environment),
    }


def _runtime_fields(kind: Any, runtime: HandlerProgram | Command) -> dict[str, Any]:
    fields = msgspec.to_builtins(runtime)
    return {name: list(v) if isinstance(v := fields[name], tuple) else v for name in _names(kind)}


def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in msgspec.structs.fields(kind))


def _scale_fields(scale: ScalePolicy) -> dict[str, Any]:
    return {
        "min": scale.replicas_min,
        "max": scale.replicas_max,
        "concurrency": scale.concurrency,
        "batch_size_max": scale.batch_size_max,
        "batch_wait_s": scale.batch_wait_s,
        "idle_timeout_s": scale.idle_timeout_s,
        "park_timeout_s": scale.park_timeout_s,
        "warmth": scale.warmth,
        "wait_value": scale.wait_value,
        "patience_s": scale.patience_s,
        "rule": write_rule(scale.rule),
        "waste_budget": scale.waste_budget,
        "failed_starts_max": scale.failed_starts_max,
        "windows": [_window_fields(window) for window in scale.windows],
    }


def _window_fields(window: ScheduledWindow) -> dict[str, Any]:
    return {
        "cron": window.cron,
        "time_zone": window.time_zone,
        "lasts_s": window.lasts_s,
        "min": window.replicas_min,
        "max": window.replicas_max,
    }


# --- the difference --------------------------------------------------------------------------


def changes(old: EndpointDefinition | None, new: EndpointDefinition) -> list[Change]:
    """Return the fields that a deploy changes; of a new endpoint, those that are not defaults."""
    before = dict(_flat(_DEFAULT if old is None else old, new))
    after = dict(_flat(new, old))
    return [
        Change(field, None if old is None else before.get(field), after.get(field))
        for field in {**after, **before}
        if before.get(field) != after.get(field)
    ]


def _flat(
    definition: EndpointDefinition, other: EndpointDefinition | None
) -> Iterator[tuple[str, Any]]:
    """Yield dotted names and values. A lone variant's fields stand without its name."""
    sides = [definition] if other is None else [definition, other]
    is_lone = all(len(side.variants) == 1 for side in sides)
    for variant in definition.variants:
        prefix = "" if is_lone else f"variants.{variant.name}."
        yield f"{prefix}weight", variant.weight
        if is_lone:
            yield "name", variant.name
        for name, value in spec_fields(variant.revision.spec).items():
            if isinstance(value, dict):
                yield from ((f"{prefix}{name}.{key}", inner) for key, inner in value.items())
            else:
                yield f"{prefix}{name}", value


_DEFAULT = EndpointDefinition(
    name=EndpointName("default"),
    variants=(
        VariantDefinition(
            name=VariantName("main"),
            revision=revision_of(Spec(handler=HandlerProgram(program="_.py"))),
        ),
    ),
)
