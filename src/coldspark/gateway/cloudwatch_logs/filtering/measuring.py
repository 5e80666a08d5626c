"""What a metric filter measures of an event that its pattern wants: a value, and dimensions."""

import math
from collections.abc import Iterable

from coldspark.errors import InvalidRequest
from coldspark.gateway.cloudwatch_logs.filtering.cursor import Cursor, PatternError
from coldspark.gateway.cloudwatch_logs.filtering.field_patterns import FieldPattern
from coldspark.gateway.cloudwatch_logs.filtering.json_patterns import JsonPattern, read_selector
from coldspark.gateway.cloudwatch_logs.filtering.patterns import Pattern, compile_pattern
from coldspark.runtime.metric_filters import Measure, MetricFilter, Reading

_SIZE_MAX = 2.0**360
"""Of a measurement, as PutMetricData has it."""
_DIMENSION_CHARS_MAX = 1_024


def measure_of(filter: MetricFilter) -> Measure:
    """Return what reads events as a filter says. Raises InvalidRequest."""
    try:
        pattern = compile_pattern(filter.pattern)
    except PatternError as error:
        raise InvalidRequest(f"Invalid filter pattern: {error}") from None
    constant = _number(filter.value)
    places = list(filter.dimensions.values())
    if constant is None:
        places.append(filter.value)
    reader = _reader(pattern, places)
    names = sorted(filter.dimensions)

    def measure(message: str) -> Reading | None:
        if not pattern.matches(message):
            return None
        found = reader.extract(message) if places else {}
        value = _number(found.get(filter.value, "")) if constant is None else constant
        pairs = [(name, found.get(filter.dimensions[name], "")) for name in names]
        if value is None or not all(0 < len(text) <= _DIMENSION_CHARS_MAX for _, text in pairs):
            return None
        return value, tuple(pairs)

    return measure


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) <= _SIZE_MAX else None


def _reader(pattern: Pattern, places: Iterable[str]) -> Pattern:
    """Return what extracts the places of an event. Raises InvalidRequest for one there is not."""
    match pattern:
        case JsonPattern():
            try:
                paths = {place: read_selector(Cursor(place)) for place in places}
            except PatternError as error:
                raise InvalidRequest(
                    f"A value of a JSON event is a number or a selector such as $.ms: {error}"
                ) from None
            return JsonPattern(pattern.holds, paths)
        case FieldPattern():
            known = [f"${one.name}" for one in (*pattern.left, *(pattern.right or ())) if one.name]
        case _:
            known = []
    for place in places:
        if place not in known:
            words = " or ".join(["a number", *known])
            raise InvalidRequest(f"'{place}' is no value of the pattern's events: use {words}.")
    return pattern
