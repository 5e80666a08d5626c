"""A spec's fields as people write them: sizes with their unit, durations in seconds, words."""

from typing import Any

_SIZES = ("memory", "gpu_memory")


def shown(field: str, value: Any) -> str:
    """Write one field's value; ``field`` may be a path such as ``scale.max``. A table has lines."""
    name = field.rpartition(".")[2]
    if value in (None, []):
        return "-"
    if isinstance(value, dict):
        given = {key: inner for key, inner in value.items() if inner not in (None, [])}
        return "\n".join(f"{key} = {shown(key, inner)}" for key, inner in given.items())
    if isinstance(value, list) and isinstance(value[0], dict):
        return "\n".join(shown(name, each).replace("\n", ", ") for each in value)
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, int) and (name in _SIZES or name.endswith("_bytes_max")):
        from coldspark.core.sizes import write_size

        return write_size(value)
    if isinstance(value, int | float) and name.endswith("_s"):
        return f"{value:g} s"
    return f"{value:g}" if isinstance(value, float) else str(value)
