"""Sizes and durations as people write them: ``15GB``, ``512MiB``, ``60s``, ``1h30m``."""

import re

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)
_UNITS = {
    "": 1,
    "b": 1,
    "k": 10**3,
    "kb": 10**3,
    "kib": 2**10,
    "m": 10**6,
    "mb": 10**6,
    "mib": 2**20,
    "g": 10**9,
    "gb": 10**9,
    "gib": 2**30,
    "t": 10**12,
    "tb": 10**12,
    "tib": 2**40,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def parse_size(value: str | int) -> int:
    """Return bytes. ``GB`` is decimal, ``GiB`` is binary, a bare number is bytes.

    Raises ValueError for anything else, with an example of what is understood.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        _refuse_negative(value)
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError(f"size {value!r} is not understood: write such as 15GB, 512MiB or 4096")
    return round(float(match[1]) * _UNITS[match[2].lower()])


def parse_duration(value: str | float) -> float:
    """Return seconds. ``90``, ``90s``, ``1m30s``, ``5m``, ``2h``, ``250ms``.

    Raises ValueError for anything else, with an example of what is understood.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        _refuse_negative(value)
        return float(value)
    text = value.strip().lower().replace(" ", "") if isinstance(value, str) else ""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"duration {value!r} is not understood: write such as 60s, 5m or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def format_size(size_bytes: int) -> str:
    """Format bytes for a person, in decimal units: ``14.5 GB``."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def write_size(size_bytes: int) -> str:
    """Format bytes exactly, in the largest unit that divides them: ``parse_size`` reads it back."""
    for unit in ("GiB", "GB", "MiB", "MB"):
        if size_bytes and size_bytes % _UNITS[unit.lower()] == 0:
            return f"{size_bytes // _UNITS[unit.lower()]}{unit}"
    return str(size_bytes)


def format_duration(seconds: float) -> str:
    """Format seconds for a person: ``35 ms``, ``4.2 s``, ``3m 20s``, ``2h 5m``."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours < 48 else f"{hours // 24}d {hours % 24}h"


def _refuse_negative(value: float) -> None:
    if value < 0:
        raise ValueError(f"{value} must not be negative")
