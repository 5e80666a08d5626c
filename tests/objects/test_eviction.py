"""Eviction: the least recently used goes, what lives stays, and shared bytes count once."""

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from s3_proxy import S3, Proxy

from coldspark.objects.artifacts import ArtifactDirectory
from coldspark.objects.eviction import CachedModel, held_bytes, list_cached, remove, to_evict

LARGE = 1024**2


def kept(name: str, used_ns: int, files: dict[int, int], is_living: bool = False) -> CachedModel:
    """Return a directory."""
    return CachedModel(path=Path(name), used_ns=used_ns, is_living=is_living, files=files)


def names(evicted: list[CachedModel]) -> list[str]:
    """Return what went."""
    return [str(one.path) for one in evicted]


def test_the_least_recently_used_goes_first_and_no_more_than_needed() -> None:
    """Worked: 10 + 20 + 30 = 60; without the oldest 40, which is enough."""
    rooms = [kept("new", 3, {1: 10}), kept("old", 1, {2: 20}), kept("mid", 2, {3: 30})]
    assert names(to_evict(rooms, 60)) == []
    assert names(to_evict(rooms, 40)) == ["old"]
    assert names(to_evict(rooms, 39)) == ["old", "mid"]


def test_what_lives_stays_even_if_it_is_too_much() -> None:
    """Nothing that an endpoint may ask for is taken from it."""
    rooms = [kept("living", 1, {1: 100}, is_living=True), kept("idle", 2, {2: 1})]
    assert names(to_evict(rooms, 10)) == ["idle"]


def test_bytes_that_another_holds_are_not_free() -> None:
    """Worked: 1 is shared; without ``a`` 105 stay, without ``b`` as well 0."""
    rooms = [kept("a", 1, {1: 100, 2: 10}), kept("b", 2, {1: 100, 3: 5})]
    assert names(to_evict(rooms, 105)) == ["a"]
    assert names(to_evict(rooms, 104)) == ["a", "b"]


rooms_of = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.booleans(),
        st.dictionaries(st.integers(0, 8), st.just(0), max_size=4),
    ),
    max_size=8,
)


@given(rooms_of, st.integers(0, 60))
def test_whatever_is_kept_the_rest_fits_or_is_living(
    drawn: list[tuple[int, bool, dict[int, int]]], bytes_max: int
) -> None:
    """And without the last eviction it would not fit."""
    rooms = [
        kept(f"{n}", used, {inode: inode + 1 for inode in files}, is_living)
        for n, (used, is_living, files) in enumerate(drawn)
    ]
    evicted = to_evict(rooms, bytes_max)
    assert not any(one.is_living for one in evicted)

    def left(without: list[CachedModel]) -> int:
        return sum(
            {i: s for one in rooms if one not in without for i, s in one.files.items()}.values()
        )

    is_enough = left(evicted) <= bytes_max
    assert is_enough or all(one.is_living or one in evicted for one in rooms)
    assert not evicted or left(evicted[:-1]) > bytes_max


def test_an_evicted_directory_goes_with_the_blobs_that_it_alone_held(
    tmp_path: Path, s3: S3, proxy: Proxy
) -> None:
    """What lives is untouched; what went can be fetched again."""
    s3.put("shed/a/own", os.urandom(LARGE))
    s3.put("shed/a/both", b"b" * LARGE)
    s3.put("shed/b/both", b"b" * LARGE)
    a, b = "s3://models/shed/a/", "s3://models/shed/b/"
    artifacts = ArtifactDirectory(tmp_path, s3_options=proxy.options)
    idle, living = (asyncio.run(artifacts.fetch(url)) for url in (a, b))
    assert 2 * LARGE <= held_bytes(tmp_path) < 2.5 * LARGE
    assert asyncio.run(artifacts.evict([b], 10 * LARGE)) == []
    assert asyncio.run(artifacts.evict([b], LARGE)) == [idle]
    assert not idle.exists()
    assert (living / "both").stat().st_nlink == 2
    assert len(list((tmp_path / "blobs").iterdir())) == 1
    assert len(list((tmp_path / "manifests").iterdir())) == 1
    assert len(list((tmp_path / "seen").iterdir())) == 2
    assert list((tmp_path / "incoming").iterdir()) == []
    sent = proxy.bytes_sent
    again = asyncio.run(artifacts.fetch(a))
    assert (again / "own").stat().st_size == LARGE
    assert proxy.bytes_sent - sent == LARGE


def test_to_ask_for_a_directory_makes_it_young(tmp_path: Path, s3: S3) -> None:
    """Use, not age, decides."""
    artifacts = ArtifactDirectory(tmp_path, s3_options=s3.options)
    folders = []
    for name in ("one", "two"):
        s3.put(f"age/{name}/own", os.urandom(LARGE))
        folders.append(asyncio.run(artifacts.fetch(f"s3://models/age/{name}/")))
    for at, folder in enumerate(folders, start=1):
        os.utime(folder, (at, at))
    asyncio.run(artifacts.fetch("s3://models/age/one/"))
    assert asyncio.run(artifacts.evict([], LARGE + LARGE // 2)) == [folders[1]]


@pytest.mark.parametrize("url", ["{path}", "file://{path}"])
def test_a_local_file_lives_however_its_path_is_written(tmp_path: Path, url: str) -> None:
    """And the file itself is never ours to remove."""
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"x" * LARGE)
    artifacts = ArtifactDirectory(tmp_path / "root")
    folder = asyncio.run(artifacts.fetch(str(path)))
    (tmp_path / "root/partial/left").write_bytes(b"x" * LARGE)
    gone = asyncio.run(artifacts.evict([url.format(path=path)], 0))
    assert gone == [tmp_path / "root/partial/left"]
    assert asyncio.run(artifacts.evict([], -1)) == [folder]
    assert path.exists()


def test_what_was_asked_for_after_it_was_chosen_stays(tmp_path: Path, s3: S3) -> None:
    """A deployment may come between the choice and the removal."""
    s3.put("raced/own", os.urandom(LARGE))
    artifacts = ArtifactDirectory(tmp_path, s3_options=s3.options)
    folder = asyncio.run(artifacts.fetch("s3://models/raced/"))
    os.utime(folder, (1, 1))
    chosen = to_evict(list_cached(tmp_path, [], []), 0)
    assert [one.path for one in chosen] == [folder]
    assert asyncio.run(artifacts.fetch("s3://models/raced/")) == folder
    assert remove(tmp_path, chosen) == []
    assert (folder / "own").stat().st_nlink == 2


def test_a_directory_of_unknown_source_stays(tmp_path: Path) -> None:
    """It may be what a living endpoint runs."""
    artifacts = ArtifactDirectory(tmp_path)
    (tmp_path / "objects/unknown").mkdir()
    (tmp_path / "objects/unknown/weights").write_bytes(b"x" * LARGE)
    assert asyncio.run(artifacts.evict([], 0)) == []
