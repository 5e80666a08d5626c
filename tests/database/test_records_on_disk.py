"""Database, data directory, endpoints, documents and keys: what was stored reads back."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from coldspark.database.data_directory import DataDirectory
from coldspark.database.database import Database
from coldspark.database.documents import Documents
from coldspark.errors import AlreadyExists, Conflict, InvalidRequest
from coldspark.http.auth.key_store import KeyStore
from coldspark.platform.endpoints_table import Endpoints
from coldspark.platform.spec_json import read_revision, revision_of, spec_json
from coldspark.spec.scaling_rules import KeepAlive
from coldspark.spec.scheduled_scaling import ScheduledWindow
from coldspark.spec.types import (
    Command,
    EndpointDefinition,
    EndpointName,
    HandlerProgram,
    ScalePolicy,
    Spec,
    VariantDefinition,
    VariantName,
)


def definition(program: str = "inference.py") -> EndpointDefinition:
    """Return an endpoint of one variant."""
    revision = revision_of(Spec(handler=HandlerProgram(program=program), environment=(("A", "1"),)))
    variant = VariantDefinition(name=VariantName("main"), revision=revision)
    return EndpointDefinition(name=EndpointName("echo"), variants=(variant,))


def test_an_endpoint_survives_a_restart_and_its_old_revisions_too(tmp_path: Path) -> None:
    """Records keep when they were made; a revision is never lost."""

    async def write(database: Database) -> None:
        clock = iter((10, 20))
        endpoints = Endpoints(database, lambda: next(clock))
        await endpoints.save(definition())
        await endpoints.save(definition("other.py"))

    async def read(database: Database) -> None:
        endpoints = Endpoints(database, lambda: 30)
        (stored,) = await endpoints.load()
        assert stored.definition == definition("other.py")
        assert (stored.created_ms, stored.updated_ms) == (10, 20)
        old = definition().variants[0].revision
        assert await endpoints.delete(EndpointName("echo"))
        assert await endpoints.revision(old.id) == old
        assert await endpoints.load() == []

    for step in (write, read):
        database = Database.open(tmp_path / "coldspark.db")
        asyncio.run(step(database))
        database.close()


def test_the_id_of_a_revision_that_was_stored_long_ago_is_what_it_was() -> None:
    """A field that specs have had since is not part of it, while it has its default.

    The ids are those that the version before ``scale.windows`` gave.
    """
    scale = ScalePolicy(
        replicas_min=1, replicas_max=4, rule=KeepAlive(keep_s=60.0), park_timeout_s=0.0
    )
    command = Spec(command=Command(argv=("serve", "--fast")), scale=scale)
    assert definition().variants[0].revision.id == "7bb7856f94e2fd79"
    assert revision_of(command).id == "0b76060ef50e0c99"
    window = ScheduledWindow(cron="0 8 * * *", lasts_s=3600.0, replicas_min=2)
    windowed = replace(command, scale=replace(scale, windows=(window,)))
    found = revision_of(windowed)
    assert found.id != "0b76060ef50e0c99"
    assert read_revision(found.id, spec_json(windowed).decode()) == found


@pytest.mark.parametrize("version", ["v9999", "0001", "0005"], ids=["newer", "first", "unreleased"])
def test_a_database_of_another_coldspark_is_refused(tmp_path: Path, version: str) -> None:
    """No program may touch what it does not understand; it says which file, and what to do."""

    def age(connection: Connection) -> None:
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})

    file = tmp_path / "coldspark.db"
    database = Database.open(file)
    asyncio.run(database.run(age))
    database.close()
    with pytest.raises(Conflict, match=version) as refused:
        Database.open(file)
    assert str(file) in refused.value.message
    assert "move the file away" in refused.value.message


def test_a_data_directory_has_one_server_and_counts_its_boots(tmp_path: Path) -> None:
    """The second is told the pid of the first; identity and master key stay."""
    first = DataDirectory.open(tmp_path / "data")
    with pytest.raises(Conflict, match=r"pid \d+"):
        DataDirectory.open(tmp_path / "data")
    first.close()
    second = DataDirectory.open(tmp_path / "data")
    second.close()
    assert (first.boot, second.boot) == (1, 2)
    assert first.instance_id == second.instance_id
    assert first.master_key == second.master_key


def test_a_document_is_created_once(tmp_path: Path) -> None:
    """The second create is refused; put replaces and keeps the time of creation."""

    async def check(database: Database) -> None:
        clock = iter((10, 20, 30))
        documents = Documents(database, lambda: next(clock))
        await documents.create("sagemaker", "model", "m", {"a": [1, "ü"]})
        with pytest.raises(AlreadyExists, match="'m'"):
            await documents.create("sagemaker", "model", "m", {})
        replaced = await documents.put("sagemaker", "model", "m", {"b": None})
        assert (replaced.created_ms, replaced.updated_ms) == (10, 30)
        assert await documents.find("sagemaker", "model") == [replaced]
        assert await documents.delete("sagemaker", "model", "m")
        assert await documents.get("sagemaker", "model", "m") is None

    database = Database.open(tmp_path / "coldspark.db")
    asyncio.run(check(database))
    database.close()


def test_a_key_verifies_until_it_is_revoked(tmp_path: Path) -> None:
    """Its token is derived: another server with the same master key takes it, too."""

    async def check(database: Database) -> None:
        keys, other = (KeyStore(database, b"k" * 32, lambda: 10) for _ in range(2))
        assert keys.is_empty()
        key = await keys.create("ci", ["invoke:echo"])
        token = keys.token(key.id)
        assert token is not None
        await other.refresh()
        assert other.by_bearer(token) == key
        assert key.allows("invoke", "echo")
        assert not key.allows("invoke")
        for wrong in (token[:-1], token + "x", "csk_", "ü", f"csk_{key.id}_\udcff"):
            assert keys.by_bearer(wrong) is None
        assert await keys.revoke(key.id)
        assert not await keys.revoke(key.id)
        assert keys.by_bearer(token) is None
        with pytest.raises(InvalidRequest, match="everything"):
            await keys.create("bad", ["everything"])

    database = Database.open(tmp_path / "coldspark.db")
    asyncio.run(check(database))
    database.close()
