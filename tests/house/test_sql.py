"""SQL is written in one style, SQLAlchemy Core; what a database alone knows stands in two files."""

import ast
import re

import pytest
from house_sources import Module, modules

pytestmark = pytest.mark.seconds

DATABASE_FILES = {"dialect.py", "sqlite.py"}
OTHERS = [module for module in modules() if module.path.split("/")[-1] not in DATABASE_FILES]
SQL = re.compile(
    r"(SELECT\b.*\bFROM\b|INSERT\s+(OR\s+\w+\s+)?INTO\b|UPDATE\s+\w+\s+SET\b|DELETE\s+FROM\b"
    r"|CREATE\s+(TABLE|INDEX)\b|PRAGMA\b|ON\s+CONFLICT\b)",
    re.DOTALL,
)
"""As it is written: in capitals."""


def imported(module: Module) -> set[str]:
    """Return what a module imports, with the names it takes from there."""
    names: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def strings(module: Module) -> list[str]:
    """Return a module's texts."""
    return [
        node.value
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def test_no_other_file_knows_a_database_by_its_name() -> None:
    """Neither its driver nor its dialect."""
    wrong = [
        (module.path, name)
        for module in OTHERS
        for name in imported(module)
        if re.match(r"(sqlite3|psycopg\w*|sqlalchemy\.dialects)\b", name)
    ]
    assert wrong == []


def test_no_other_file_writes_sql() -> None:
    """A statement in text fits one database alone, and nothing checks its names."""
    wrong = [
        (module.path, text[:60])
        for module in OTHERS
        for text in strings(module)
        if SQL.search(text)
    ]
    raw = {"sqlalchemy.text", "sqlalchemy.sql.text"}
    wrong += [(module.path, "text") for module in OTHERS if raw & imported(module)]
    wrong += [(module.path, "driver") for module in OTHERS if "exec_driver_sql" in module.text]
    assert wrong == []


def test_no_table_has_a_hidden_row_number() -> None:
    """What SQLite alone counts is no key."""
    assert [module.path for module in modules() if re.search(r"\browid\b", module.text)] == []
