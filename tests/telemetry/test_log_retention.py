"""What is deleted or too old goes by itself, whatever fails on the way."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from coldspark import clock
from coldspark.database.database import Database
from coldspark.doors.aws.protocol.names import from_group
from coldspark.errors import NotFound
from coldspark.telemetry.log_records import LogGroup
from coldspark.telemetry.log_store import ENDPOINT_GROUPS, LogRetention, LogStore, endpoint_of

DAY_MS = 86_400_000


class NoEndpoints:
    """A platform without endpoints: every log is an ended replica's."""

    def endpoint(self, name: str) -> Any:
        """Raise NotFound."""
        raise NotFound(name)


def old_log(path: Path, endpoint: str) -> Path:
    folder = path / "logs" / endpoint / "main"
    folder.mkdir(parents=True)
    file = folder / "r.log"
    file.write_bytes(b"%d o old\n" % (clock.wall_ms() - 3 * DAY_MS))
    return file


async def stored(path: Path) -> tuple[Database, LogStore]:
    database = await asyncio.to_thread(Database.open, path / "coldspark.db")
    return database, LogStore.of(database, path / "logs")


@pytest.mark.parametrize(
    ("group", "endpoint"),
    [
        ("/aws/sagemaker/Endpoints/echo", "echo"),
        ("/aws/sagemaker/Endpoints/", None),
        ("/aws/sagemaker/Endpoints/a/b", None),
        ("echo", None),
    ],
)
def test_a_groups_name_says_whose_it_is(group: str, endpoint: str | None) -> None:
    """An endpoint's, or a caller's."""
    assert endpoint_of(from_group(group)) == endpoint


def test_what_is_deleted_goes_as_soon_as_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at the next period."""

    async def play() -> None:
        database, store = await stored(tmp_path)
        is_empty, expire = asyncio.Event(), store.events.expire

        async def noted() -> bool:
            is_more = await expire()
            if await store.events.stored_bytes() == 0 and await store.events.groups() == []:
                is_empty.set()
            return is_more

        retention = LogRetention(store, NoEndpoints(), period_s=3_600)  # type: ignore[arg-type]
        retention.open()
        await store.events.create_group("g", {})
        group = await store.events.group("g")
        assert group is not None
        await store.events.create_stream(group, "s")
        await store.events.put(group, "s", [(clock.wall_ms(), "x")] * 5_000)
        await store.events.drop_group("g")
        monkeypatch.setattr(store.events, "expire", noted)
        store.on_dropped()
        async with asyncio.timeout(20):
            await is_empty.wait()
        await retention.close()
        database.close()

    asyncio.run(play())


def test_a_group_that_fails_does_not_keep_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its failure is logged; where views of other processes are old, they are renewed first."""

    async def play() -> None:
        database, store = await stored(tmp_path)
        renewed: list[bool] = []

        async def renew() -> None:
            renewed.append(True)

        bad, good = old_log(tmp_path, "bad"), old_log(tmp_path, "good")
        for name in ("bad", "good"):
            group = LogGroup(name=f"{ENDPOINT_GROUPS}{name}", created_ms=0, retention_days=1)
            await store.events.change_group(group)
        remove = store.files.remove

        def failing(endpoint: str, stream: str) -> bool:
            if endpoint == "bad":
                raise PermissionError("the disk is read-only")
            return remove(endpoint, stream)

        monkeypatch.setattr(store.files, "remove", failing)
        await LogRetention(store, NoEndpoints(), renew=renew).enforce()  # type: ignore[arg-type]
        assert bad.exists()
        assert not good.exists()
        assert renewed == [True, True]
        database.close()

    asyncio.run(play())
