"""The bound of model data on the disk: enforced at the start and after each download."""

import asyncio
import os
import tarfile
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from coldspark.objects.artifacts import ArtifactDirectory
from coldspark.objects.weights_eviction import WeightsEvictor

MODEL_BYTES = 1024**2


class Watched(ArtifactDirectory):
    """A store whose evictions can be waited for."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.evictions: asyncio.Queue[list[Path]] = asyncio.Queue()

    async def evict(self, living: Collection[str], bytes_max: int) -> list[Path]:
        """Evict, and tell."""
        gone = await super().evict(living, bytes_max)
        self.evictions.put_nowait(gone)
        return gone


def an_archive(folder: Path, name: str) -> str:
    """Return the path of an archive that holds as much as a model."""
    weights = folder / f"{name}.bin"
    weights.write_bytes(os.urandom(MODEL_BYTES))
    path = folder / f"{name}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(weights, weights.name)
    return str(path)


def bounded(
    store: Watched, bytes_max: int, living: set[str], body: Callable[[], Awaitable[None]]
) -> None:
    """Run the body while the bound is enforced, after the first time."""

    async def main() -> None:
        bound = WeightsEvictor(store, bytes_max, lambda: living)
        bound.open()
        try:
            async with asyncio.timeout(30):
                await body()
        finally:
            await bound.close()

    asyncio.run(main())


def test_what_is_over_the_bound_goes_after_a_download(tmp_path: Path) -> None:
    """The one that no endpoint names, though it is older or younger."""
    store = Watched(tmp_path / "store")
    first, second = an_archive(tmp_path, "first"), an_archive(tmp_path, "second")
    living = {first, second}

    async def body() -> None:
        assert await store.evictions.get() == []
        old = await store.fetch(first)
        assert await store.evictions.get() == []
        living.remove(first)
        new = await store.fetch(second)
        assert await store.evictions.get() == [old]
        assert (new / "second.bin").stat().st_size == MODEL_BYTES

    bounded(store, MODEL_BYTES + MODEL_BYTES // 2, living, body)


def test_what_is_over_the_bound_goes_at_the_start(tmp_path: Path) -> None:
    """The bound was lowered, or endpoints were deleted, while no server ran."""
    store = Watched(tmp_path / "store")
    path = an_archive(tmp_path, "left")
    folder = asyncio.run(store.fetch(path))

    async def body() -> None:
        assert await store.evictions.get() == [folder]

    bounded(store, MODEL_BYTES // 2, set(), body)


def test_what_an_endpoint_names_stays_though_it_is_too_much(tmp_path: Path) -> None:
    """Also beside an endpoint whose address is none."""
    store = Watched(tmp_path / "store")
    path = an_archive(tmp_path, "needed")

    async def body() -> None:
        assert await store.evictions.get() == []
        folder = await store.fetch(path)
        assert await store.evictions.get() == []
        assert folder.is_dir()

    bounded(store, 1, {path, "file://elsewhere/x"}, body)
