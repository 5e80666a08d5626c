"""Sizes and durations as people write them."""

import pytest

from coldspark.spec.units import (
    format_duration,
    format_size,
    parse_duration,
    parse_size,
    write_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("15GB", 15 * 10**9),
        ("15GiB", 15 * 2**30),
        ("512 MB", 512 * 10**6),
        ("1.5gb", 15 * 10**8),
        ("2G", 2 * 10**9),
        ("4096", 4096),
        (4096, 4096),
    ],
)
def test_a_size_is_read_in_bytes(text: str | int, size: int) -> None:
    """GB is decimal, GiB binary, a bare number bytes."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "15 apples", "-1GB", "GB", -1, True])
def test_a_size_that_is_none_is_refused(text: str | int) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60.0), ("5m", 300.0), ("1h30m", 5400.0), ("250ms", 0.25), ("90", 90.0), (2, 2.0)],
)
def test_a_duration_is_read_in_seconds(text: str | float, seconds: float) -> None:
    """A bare number is seconds."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "5 minutes", "s5", "-5s", -1.0])
def test_a_duration_that_is_none_is_refused(text: str | float) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError):
        parse_duration(text)


@pytest.mark.parametrize("text", ["512MB", "1GiB", "256MiB", "15GB", "4097", "0"])
def test_a_size_is_written_as_it_is_read(text: str) -> None:
    """Nothing is rounded: it can be typed into a project's file again."""
    assert write_size(parse_size(text)) == text


def test_sizes_and_durations_are_written_for_people() -> None:
    """Three digits are enough."""
    assert [format_size(n) for n in (512, 98_000_000, 14_495_514_624)] == [
        "512 B",
        "98 MB",
        "14.5 GB",
    ]
    assert [format_duration(s) for s in (0.0351, 4.2, 200, 7500, 400_000)] == [
        "35.1 ms",
        "4.2 s",
        "3m 20s",
        "2h 5m",
        "4d 15h",
    ]
