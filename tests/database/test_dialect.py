"""Every table and statement is SQL for SQLite and for Postgres; no server is needed to say so."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from sqlalchemy import Dialect, Executable, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql import ClauseElement

import coldspark
from coldspark.database import dialect, schema
from coldspark.database.dialect import Prepared
from coldspark.telemetry import usage_metrics

ROOMS = frozenset({"billing", "database", "http", "jobs", "objects", "platform", "telemetry"})
DIALECTS = {"sqlite": sqlite.dialect(), "postgresql": postgresql.dialect()}


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest) -> Dialect:
    """Return each dialect in turn."""
    return DIALECTS[request.param]


def held() -> Iterator[tuple[str, object]]:
    """Yield what modules with statements hold, by name, also what lies in their dictionaries."""
    for module in pkgutil.walk_packages(coldspark.__path__, "coldspark."):
        if module.name.split(".")[1] not in ROOMS or ".migrations" in module.name:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            values = value.values() if isinstance(value, dict) else [value]
            yield from ((f"{module.name}.{name}", one) for one in values)


def test_every_table_can_be_made(database: Dialect) -> None:
    """With its keys and indexes."""
    for table in schema.metadata.tables.values():
        made = str(CreateTable(table).compile(dialect=database))
        assert made.strip().startswith("CREATE TABLE")
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=database)).startswith("CREATE ")


def test_times_money_and_bytes_are_64_bits_wide_and_text_sorts_by_its_bytes() -> None:
    """Postgres keeps to its types; SQLite would hide what is wrong."""
    for table in schema.metadata.tables.values():
        for column in table.columns:
            made = column.type.compile(dialect=DIALECTS["postgresql"])
            if column.name.endswith(("_ms", "_bytes", "_nanos", "_us")) or column.name == "nanos":
                assert made == "BIGINT", f"{table.name}.{column.name}"
            if made.startswith("TEXT"):
                assert made == 'TEXT COLLATE "C"', f"{table.name}.{column.name}"


def test_the_database_counts_up_the_keys_of_rows_without_a_name() -> None:
    """Neither has a hidden row number that code could lean on."""
    assert "number INTEGER NOT NULL" in made("usages", "sqlite")
    assert "number BIGSERIAL NOT NULL" in made("usages", "postgresql")
    assert "id BIGSERIAL NOT NULL" in made("log_events", "postgresql")


def made(table: str, name: str) -> str:
    """Return what makes a table."""
    return str(CreateTable(schema.metadata.tables[table]).compile(dialect=DIALECTS[name]))


def test_every_prepared_statement_is_compiled_with_the_drivers_placeholders() -> None:
    """The order of a row's values is the same for both."""
    found = {name: one for name, one in held() if isinstance(one, Prepared)}
    assert len(found) >= 12
    for name, prepared in found.items():
        for database, placeholder in ((DIALECTS["sqlite"], "?"), (DIALECTS["postgresql"], "%s")):
            text = prepared.sql(database)
            assert text.count(placeholder) == len(prepared.names), f"{name}: {text}"


def test_every_other_statement_of_a_module_compiles(database: Dialect) -> None:
    """Those that functions build are run by their tests, and are made of the same parts."""
    found = [one for _, one in held() if isinstance(one, Executable)]
    assert len(found) >= 5
    for one in found:
        assert isinstance(one, ClauseElement)
        assert str(one.compile(dialect=database))


def test_a_group_is_named_and_not_repeated() -> None:
    """Postgres does not see that an expression with parameters is the one that is selected."""
    for query in (usage_metrics._COUNTS, *usage_metrics._TIMES.values()):
        text = str(query.compile(dialect=DIALECTS["postgresql"]))
        assert "%" not in text.split("GROUP BY")[1]


def test_upserts_are_spelled_alike() -> None:
    """A row that exists stays, or gives way."""
    for name in DIALECTS:
        stays = dialect.insert_new(schema.job_bodies).sql(DIALECTS[name])
        assert stays.endswith(") ON CONFLICT DO NOTHING")
        gives_way = dialect.insert_or_replace(schema.job_bodies).sql(DIALECTS[name])
        assert gives_way.endswith(") ON CONFLICT (job, kind) DO UPDATE SET body = excluded.body")


def test_what_a_dialect_lacks_is_spelled_in_its_way() -> None:
    """Lengths in bytes, and sums that stay integers."""
    length = select(dialect.utf8_bytes(schema.log_events.c.message))
    assert "length(CAST(log_events.message AS BLOB))" in str(
        length.compile(dialect=DIALECTS["sqlite"])
    )
    assert "octet_length(log_events.message)" in str(length.compile(dialect=DIALECTS["postgresql"]))
    added = select(dialect.total(schema.jobs.c.kept_bytes))
    assert "CAST(sum(jobs.kept_bytes) AS BIGINT)" in str(
        added.compile(dialect=DIALECTS["postgresql"])
    )
