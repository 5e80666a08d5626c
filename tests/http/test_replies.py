"""Heads on the wire: whatever a replica says, one header is one line."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark import clock
from coldspark.errors import BY_CODE, ColdsparkError
from coldspark.http.replies import header_lines, server_timing, status_line
from coldspark.http.request_ids import request_ids
from coldspark.spec.types import FailureKind
from coldspark.spec.waterfall import Waterfall

_LINE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [^\r\n\0]*\r\n")


@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), max_size=8))
def test_header_lines_hold_whatever_is_put_in(headers: list[tuple[str, str]]) -> None:
    """Never more lines than headers, never a name that is none, never one of ours."""
    lines = header_lines(headers)
    assert "".join(_LINE.findall(lines)) == lines
    assert lines.count("\n") <= len(headers)


@given(
    st.sampled_from(["Transfer-Encoding", "content-length", "TE", "X-Coldspark-Cost", "Date"]),
    st.text(max_size=20),
)
def test_the_gateway_s_own_headers_are_nobody_else_s(name: str, value: str) -> None:
    """Framing, date and cost."""
    assert header_lines([(name, value)]) == ""


@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), max_size=4))
def test_a_header_with_the_request_s_id_is_a_line_as_any_other(
    headers: list[tuple[str, str]],
) -> None:
    """Its line alone is not kept, so that those behind it are found again."""
    request = next(request_ids())
    told = [("x-amzn-RequestId", request), *headers]
    first = f"x-amzn-RequestId: {request}\r\n"
    assert header_lines(told, request) == first + header_lines(headers)
    assert header_lines([("x\r\ny", request)], request) == ""


def test_server_timing_leaves_out_what_was_not() -> None:
    """Milliseconds; the total is the sum."""
    fall = Waterfall(queued_us=1, inferred_us=2_500_000, unaccounted_us=2_047)
    assert server_timing(fall) == (
        "queued;dur=0.001, inferred;dur=2500.0, unaccounted;dur=2.047, total;dur=2502.048"
    )


@given(st.integers(0, 10**9))
def test_server_timing_is_numbers_as_the_standard_has_them(duration_us: int) -> None:
    """A dur is a plain number, never in exponents."""
    text = server_timing(Waterfall(inferred_us=duration_us))
    assert re.fullmatch(r"(inferred;dur=\d+\.\d+, )?total;dur=\d+\.\d+", text), text


@pytest.mark.parametrize(
    ("status", "line"),
    [(200, "HTTP/1.1 200 OK"), (299, "HTTP/1.1 299 Unassigned"), (150, "HTTP/1.1 502 Bad Gateway")],
)
def test_status_lines(status: int, line: str) -> None:
    """Known, unknown, and none."""
    assert status_line(status) == line


def test_request_ids_are_uuids_that_begin_with_the_time() -> None:
    """RFC 9562, version 7; no two alike."""
    before_ms = clock.wall_ms()
    ids = request_ids()
    made = [next(ids) for _ in range(1_000)]
    times = [int(one[:8] + one[9:13], 16) for one in made]
    assert times == sorted(times)
    assert before_ms <= times[0] <= times[-1] <= clock.wall_ms()
    form = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(form.fullmatch(one) for one in made)
    assert len(set(made)) == 1_000


@pytest.mark.parametrize("kind", FailureKind)
def test_every_failure_has_its_class(kind: FailureKind) -> None:
    """By code."""
    error = BY_CODE[kind]
    assert issubclass(error, ColdsparkError)
    assert error.code == kind
