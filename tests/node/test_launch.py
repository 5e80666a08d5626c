"""What a spec needs is brought here ahead of its first start."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from coldspark.node.launch_resolver import LaunchResolver, Progress
from coldspark.spec.types import OWN_REQUIREMENTS, ArtifactId, HandlerProgram, Spec


class Shelf:
    """An artifact store with one unpacked archive; counts what is asked of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def fetch(self, url: str, progress: Callable[[int, int], None] | None = None) -> Path:
        assert progress is not None
        for here_bytes in range(101):
            progress(here_bytes * 10**6, 100 * 10**6)
        return self.directory

    def code_dir(self, id: ArtifactId) -> Path:
        return self.directory


class Builder:
    """Remembers what it was asked to build."""

    def __init__(self) -> None:
        self.built: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    async def ready(
        self, requirements: tuple[str, ...], overrides: tuple[str, ...], progress: Progress
    ) -> Path:
        self.built.append((requirements, overrides))
        return Path(sys.executable)


def test_requirements_inside_a_model_archive_are_built_ahead(tmp_path: Path) -> None:
    """SageMaker's layout: code/requirements.txt counts where the spec names none."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/requirements.txt").write_text("numpy  # arrays\n\n# not this\n")
    builder = Builder()
    resolver = LaunchResolver(environments=builder, artifacts=Shelf(tmp_path), instance="i")
    spec = Spec(handler=HandlerProgram(program="inference.py"), model="s3://bucket/model.tar.gz")

    files = asyncio.run(resolver.gather(spec, print))

    assert builder.built == [(("numpy",), ())]
    assert (files.model_dir, files.code_dir) == (tmp_path, None)


def test_what_an_image_brings_is_built_with_the_codes_own_requirements(tmp_path: Path) -> None:
    """In one environment, from code in an archive of its own; no file is no line."""
    builder = Builder()
    resolver = LaunchResolver(environments=builder, artifacts=Shelf(tmp_path), instance="i")
    handler = HandlerProgram(requirements=("torch==2.5", OWN_REQUIREMENTS))
    spec = Spec(handler=handler, code="s3://bucket/sourcedir.tar.gz")

    asyncio.run(resolver.gather(spec, print))
    (tmp_path / "requirements.txt").write_text("numpy\n")
    files = asyncio.run(resolver.gather(spec, print))

    assert [lines for lines, _ in builder.built] == [("torch==2.5",), ("torch==2.5", "numpy")]
    assert (files.model_dir, files.code_dir) == (None, tmp_path)


def test_a_download_is_told_of_ten_times(tmp_path: Path) -> None:
    """Often enough to see that it goes on, seldom enough for a log."""
    resolver = LaunchResolver(environments=Builder(), artifacts=Shelf(tmp_path), instance="i")
    spec = Spec(handler=HandlerProgram(program="inference.py"), model="s3://bucket/model.tar.gz")
    told: list[str] = []

    asyncio.run(resolver.gather(spec, told.append))

    assert len(told) == 10
    assert told[0] == "fetched 10 of 100 MB of model data"
