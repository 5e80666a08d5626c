"""Find out what an order needs on this machine: model data, code, interpreter, environment.

SageMaker's archive holds the code in ``code/`` beside the model. Where the spec names no code of
its own, the program is looked for there, then at the archive's root; ``code/requirements.txt``
(and uv's ``overrides.txt`` beside it) count where the spec names no requirements, and in the place
of its line ``-r requirements.txt``.
"""

import asyncio
import functools
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from coldspark.errors import InvalidRequest
from coldspark.node import processes
from coldspark.node.launch_plan import LaunchFiles, LaunchPlan
from coldspark.node.sandbox.scratch import make as make_scratch
from coldspark.node.templates.fork_order import TemplateKey
from coldspark.platform.ports import StartOrder
from coldspark.spec.messages import Reservation
from coldspark.spec.types import (
    OWN_REQUIREMENTS,
    ArtifactId,
    Command,
    HandlerProgram,
    RootCause,
    Spec,
)

_REQUIREMENTS_BYTES_MAX = 256 * 1024
_LISTED_MAX = 10
_TMP_CHARS_MAX = 70
_TENTHS = 10
_PROGRAMS_MAX = 1_024
_MB = 1e6

Progress = Callable[[str], None]


class EnvironmentBuilder(Protocol):
    """Who makes Python environments."""

    async def ready(
        self, requirements: tuple[str, ...], overrides: tuple[str, ...], progress: Progress
    ) -> Path:
        """Return the environment's interpreter, built if need be. Raises EnvironmentFailed."""


class ArtifactStore(Protocol):
    """Who brings model data and code to this machine."""

    async def fetch(self, url: str, progress: Callable[[int, int], None] | None = None) -> Path:
        """Return the directory of the unpacked model data. Raises ArtifactUnavailable.

        ``progress`` hears of a download: bytes that are here, bytes in all.
        """

    def code_dir(self, id: ArtifactId) -> Path:
        """Return the directory of unpacked code. Raises ArtifactUnavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchResolver:
    """Turn orders into launch plans."""

    environments: EnvironmentBuilder
    artifacts: ArtifactStore
    instance: str

    async def resolve(self, order: StartOrder, scratch: Path, progress: Progress) -> LaunchPlan:
        """Return how to start a replica. Raises what ``gather`` raises."""
        files = await self.gather(order.revision.spec, progress)
        runtime = order.revision.spec.runtime
        environment = self._environment(order, scratch, files.model_dir)
        key = template_key(order.revision.spec, files, on_gpu=bool(_real_devices(order.grant)))
        if isinstance(runtime, Command):
            return _plan_command(runtime, key, files, scratch, environment)
        assert key.program is not None
        return LaunchPlan(key=key, files=files, environment=environment, cwd=key.program.parent)

    async def gather(self, spec: Spec, progress: Progress) -> LaunchFiles:
        """Bring everything here, model data and environment side by side where they can be.

        Raises ArtifactUnavailable and EnvironmentFailed.
        """
        code_dir = await self._code_dir(spec.code, progress)
        if code_dir is None and spec.multi_model is not None and spec.handler is not None:
            # One program for all models, beside them.
            code_dir = await self.artifacts.fetch(spec.multi_model.code_url, _told(progress))
        model_dir: Path | None = None
        is_built = False

        def building(text: str) -> None:
            nonlocal is_built
            is_built = True
            progress(text)

        if spec.model is None:
            interpreter = await self._interpreter(spec.runtime, code_dir, building)
        elif _are_complete(spec.runtime.requirements) or code_dir is not None:
            model_dir, interpreter = await _both(
                self.artifacts.fetch(spec.model, _told(progress)),
                self._interpreter(spec.runtime, code_dir, building),
            )
        else:
            # What is required stands in the archive itself.
            model_dir = await self.artifacts.fetch(spec.model, _told(progress))
            interpreter = await self._interpreter(spec.runtime, model_dir / "code", building)
        return LaunchFiles(interpreter, code_dir, model_dir, is_built)

    async def _code_dir(self, code: str | None, progress: Progress) -> Path | None:
        if code is None:
            return None
        if "://" in code:
            return await self.artifacts.fetch(code, _told(progress))
        return self.artifacts.code_dir(ArtifactId(code))

    async def _interpreter(
        self, runtime: HandlerProgram | Command, code_dir: Path | None, progress: Progress
    ) -> Path:
        requirements, overrides = runtime.requirements, runtime.overrides
        if not _are_complete(requirements):
            own = () if code_dir is None else _lines(code_dir / "requirements.txt")
            requirements = tuple(line for line in requirements if line != OWN_REQUIREMENTS) + own
            if code_dir is not None:
                overrides = overrides or _lines(code_dir / "overrides.txt")
        if not requirements:
            return Path(sys.executable)
        return await self.environments.ready(requirements, overrides, progress)

    def _environment(
        self, order: StartOrder, scratch: Path, model_dir: Path | None
    ) -> dict[str, str]:
        """Return the variables of the replica; the platform's own win over the user's."""
        spec = order.revision.spec
        environment = {**dict(spec.environment), **order.environment}
        environment.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        environment |= device_variables(order.grant)
        environment |= {
            processes.INSTANCE_TAG: self.instance,
            processes.REPLICA_TAG: order.replica,
            "SAGEMAKER_BASE_DIR": str(scratch),
        }
        if spec.multi_model is not None:
            environment["SAGEMAKER_MULTI_MODEL"] = "true"
        tmp = scratch / "tmp"
        # Unix sockets in TMPDIR (multiprocessing makes some) may not be longer than 107 bytes.
        if len(str(tmp)) <= _TMP_CHARS_MAX:
            environment.setdefault("TMPDIR", str(tmp))
        environment |= _model_variables(model_dir)
        make_scratch(scratch, model_dir)
        return environment


def _are_complete(requirements: tuple[str, ...]) -> bool:
    """Say whether the code's own file does not count."""
    return bool(requirements) and OWN_REQUIREMENTS not in requirements


def template_key(spec: Spec, files: LaunchFiles, *, on_gpu: bool) -> TemplateKey:
    """Return which template a spec's replicas are forked from.

    Raises InvalidRequest when the program is not where the spec says.
    """
    if spec.handler is None:
        return TemplateKey(interpreter=Path(sys.executable), program=None)
    program = _program(spec.handler, files.code_dir, files.model_dir)
    # The program may read the spec's variables, and look for a GPU, while it is imported.
    # Our own names are ours: without its marks a template could not be found again.
    named = spec.environment
    seen = {name: value for name, value in named if not name.startswith("COLDSPARK_")}
    modified_ns = program.stat().st_mtime_ns
    # A template never touches a GPU: there the model is loaded after the fork.
    directory = files.model_dir or program.parent
    has_model = spec.multi_model is None
    model_dir = None if on_gpu or not has_model else directory
    has_setup = has_model and on_gpu and _names_setup(program, modified_ns)
    setup_dir = directory if has_setup else None
    if model_dir is not None:
        seen["CUDA_VISIBLE_DEVICES"] = ""
    if model_dir is not None or setup_dir is not None:
        seen |= _model_variables(files.model_dir)
    return TemplateKey(
        interpreter=files.interpreter,
        program=program,
        paths=(program.parent,),
        environment=tuple(sorted(seen.items())),
        modified_ns=modified_ns,
        model_dir=model_dir,
        setup_dir=setup_dir,
        memory_bytes=None if model_dir is setup_dir else spec.resources.memory_bytes,
    )


@functools.lru_cache(maxsize=_PROGRAMS_MAX)
def _names_setup(program: Path, modified_ns: int) -> bool:
    """Say whether the program may have a ``setup_fn``: only then is its template a model's own.

    One that takes it from elsewhere without naming it has it run after the fork.
    """
    return b"setup_fn" in program.read_bytes()


def _told(progress: Progress) -> Callable[[int, int], None]:
    """Return what tells of a download in words, once for each tenth of it."""
    told = 0

    def hear(here_bytes: int, all_bytes: int) -> None:
        nonlocal told
        tenth = _TENTHS * here_bytes // max(1, all_bytes)
        if tenth > told:
            told = tenth
            progress(f"fetched {here_bytes / _MB:,.0f} of {all_bytes / _MB:,.0f} MB of model data")

    return hear


def _plan_command(
    command: Command,
    key: TemplateKey,
    files: LaunchFiles,
    scratch: Path,
    environment: dict[str, str],
) -> LaunchPlan:
    argv = command.argv
    if argv[0] == "python":
        argv = (str(files.interpreter), *argv[1:])
    # The environment's own programs (vllm, uvicorn, …) come first.
    path = environment.get("PATH") or processes.clean_environment()["PATH"]
    environment = {**environment, "PATH": f"{files.interpreter.parent}:{path}"}
    environment.setdefault("PYTHONUNBUFFERED", "1")
    return LaunchPlan(
        key=key,
        files=files,
        environment=environment,
        cwd=_command_directory(files.code_dir, files.model_dir, scratch),
        argv=argv,
    )


def _command_directory(code_dir: Path | None, model_dir: Path | None, scratch: Path) -> Path:
    if code_dir is not None:
        return code_dir
    if model_dir is None:
        return scratch
    return model_dir / "code" if (model_dir / "code").is_dir() else model_dir


def _program(handler: HandlerProgram, code_dir: Path | None, model_dir: Path | None) -> Path:
    if code_dir is not None:
        places = [code_dir]
    elif model_dir is not None:
        places = [model_dir / "code", model_dir]
    else:
        raise InvalidRequest(
            f"the handler {handler.program!r} has neither code nor model data: deploy it with its"
            " code directory, or with a model archive that holds code/",
            field="code",
        )
    for place in places:
        if (place / handler.program).is_file():
            return place / handler.program
    held = ", ".join(sorted(path.name for path in places[-1].iterdir())[:_LISTED_MAX])
    where = "the code" if code_dir is not None else "code/ of the model archive"
    raise InvalidRequest(
        f"{RootCause.HANDLER_INVALID}: there is no {handler.program!r} in {where}, which holds:"
        f" {held or 'nothing'}; name the file as program",
        field="program",
    )


def _model_variables(model_dir: Path | None) -> dict[str, str]:
    if model_dir is None:
        return {}
    return {"COLDSPARK_MODEL_DIR": str(model_dir), "SM_MODEL_DIR": str(model_dir)}


def device_variables(grant: Reservation) -> dict[str, str]:
    """Return what tells a process which devices are its own; a simulated one is not visible."""
    real = _real_devices(grant)
    variables = {"CUDA_VISIBLE_DEVICES": ",".join(real)}
    if grant.devices:
        variables["COLDSPARK_GPU"] = ",".join(device.type for device in grant.devices)
        is_simulated = any(device.is_simulated for device in grant.devices)
        variables["COLDSPARK_GPU_SIMULATED"] = "1" if is_simulated else "0"
    return variables


def _real_devices(grant: Reservation) -> list[str]:
    return [device.id for device in grant.devices if not device.is_simulated]


def _lines(file: Path) -> tuple[str, ...]:
    """Return the requirement lines of a file, none if it is not there."""
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(_REQUIREMENTS_BYTES_MAX)
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{file.name} cannot be read: {error}") from error
    stripped = (line.split(" #")[0].strip() for line in text.splitlines())
    return tuple(line for line in stripped if line and not line.startswith("#"))


async def _both(
    fetch: Coroutine[object, object, Path], build: Coroutine[object, object, Path]
) -> tuple[Path, Path]:
    """Run both; the first failure ends the other and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            fetching, building = group.create_task(fetch), group.create_task(build)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return fetching.result(), building.result()
