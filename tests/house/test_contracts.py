"""The import contracts know every door and every module of rules."""

import tomllib
from pathlib import Path

from house_sources import ROOT, SOURCE, modules

NOT_DOORS = {
    "coldspark.doors.aws": "a folder of doors",
    "coldspark.doors.aws.protocol": "what AWS's doors share",
}


def contract(name: str) -> dict[str, list[str]]:
    """Return an import contract."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contracts: list[dict[str, list[str]]] = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    return next(one for one in contracts if one["name"] == name)


def dotted_path(path: Path) -> str:
    """Return the name that a file or a folder of the package is imported by."""
    return ".".join(("coldspark", *path.relative_to(SOURCE).with_suffix("").parts))


def test_every_door_is_independent_of_the_others() -> None:
    """And unknown to what AWS's doors share."""
    folders = [*(SOURCE / "doors").glob("*/__init__.py"), *(SOURCE / "doors/aws").glob("*/*.py")]
    doors = {dotted_path(path.parent) for path in folders} - set(NOT_DOORS)
    assert set(contract("doors are independent of each other")["modules"]) == doors
    shared = contract("what AWS's doors share knows none of them")
    assert set(shared["forbidden_modules"]) == doors


def test_what_is_named_rules_is_pure() -> None:
    """The name is a promise: no clock, no I/O, no coroutine."""
    pure = contract("what decides is pure")["source_modules"]
    paths = [ROOT / module.path for module in modules() if module.path.endswith("rules.py")]
    names = [dotted_path(path) for path in paths]
    assert len(names) > 2
    assert [name for name in names if not f"{name}.".startswith(tuple(f"{p}." for p in pure))] == []
