"""What a spec needs is brought here ahead of its first start."""

import asyncio
import sys
from pathlib import Path

from coldspark.core.types import ArtifactId, Handler, Spec
from coldspark.engines.launch import Progress, Resolver


class Shelf:
    """An artifact store with one unpacked archive; counts what is asked of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def fetch(self, url: str) -> Path:
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
    resolver = Resolver(environments=builder, artifacts=Shelf(tmp_path), instance="i")
    spec = Spec(handler=Handler(program="inference.py"), model="s3://bucket/model.tar.gz")

    files = asyncio.run(resolver.gather(spec, print))

    assert builder.built == [(("numpy",), ())]
    assert (files.model_dir, files.code_dir) == (tmp_path, None)
