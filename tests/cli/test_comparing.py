"""``compare``: the same requests to two endpoints, against a fake server that echoes."""

import json
from pathlib import Path

import pytest
from fake_api import FakeApi, endpoint
from shell import Shell


@pytest.fixture(autouse=True)
def two_endpoints(api: FakeApi) -> None:
    """Two names, one behaviour: what is sent comes back."""
    for name in ("a", "b"):
        api.endpoints[name] = endpoint(name)


def test_both_get_the_same_requests_in_turns(
    coldspark: Shell, api: FakeApi, tmp_path: Path
) -> None:
    """One to wake each, then each body as often as asked."""
    (tmp_path / "bodies.jsonl").write_text('{"n": 1}\n\n{"n": 2}\n')
    ran = coldspark("compare", "a", "b/main", "--requests", "bodies.jsonl", "--repeat", "2")
    assert ran.code == 0, ran.err
    sent = [(path[-8], body) for path, _, body in api.sent if "invoke" in path]
    one, two = b'{"n": 1}', b'{"n": 2}'
    turns = [(side, body) for body in (one, two) for side in "ab"]
    assert sent == [("a", one), ("b", one), *turns, *turns]
    variants = [headers.get("x-coldspark-variant") for p, headers, _ in api.sent if "invoke" in p]
    assert variants[:2] == [None, "main"]
    assert "Answers: 4 pairs" in ran.out
    assert "100.0%  exact" in ran.out


def test_a_csv_is_sent_row_by_row(coldspark: Shell, api: FakeApi, tmp_path: Path) -> None:
    """As SageMaker's clients do."""
    (tmp_path / "rows.csv").write_text("1,2\n3,4\n")
    assert coldspark("compare", "a", "b", "--requests", "rows.csv").code == 0
    sent = [(headers["content-type"], body) for p, headers, body in api.sent if "invoke" in p]
    assert set(sent) == {("text/csv", b"1,2"), ("text/csv", b"3,4")}


def test_json_holds_what_the_tables_show(coldspark: Shell, api: FakeApi) -> None:
    """For scripts: a difference fails nobody's exit code, so it must be readable."""
    api.replies["/v1/endpoints/b/invoke"] = (200, {"n": 2})
    ran = coldspark("compare", "a", "b", "--body", '{"n": 1}', "--json")
    answer = json.loads(ran.out)
    assert answer["agreement"]["by_kind"]["different"] == 1
    assert answer["agreement"]["first_difference"] == "$.n"
    assert [side["requests"] for side in answer["sides"]] == [1, 1]
    assert answer["sides"][0]["p50_ms"] == 28.05


def test_failures_of_one_side_are_counted_and_told(coldspark: Shell, api: FakeApi) -> None:
    """The other is measured all the same."""
    broken = {"error": {"code": "HandlerFailed", "message": "no such thing"}}
    api.replies["/v1/endpoints/b/invoke"] = (500, broken)
    ran = coldspark("compare", "a", "b", "--body", "1", "--json")
    one, other = json.loads(ran.out)["sides"]
    assert (one["requests"], one["errors"]) == (1, 0)
    assert (other["requests"], other["errors"], other["p50_ms"]) == (0, 2, None)
    assert other["first_error"] == "no such thing"


def test_zero_that_never_comes_is_reported_with_what_may_keep_it(coldspark: Shell) -> None:
    """The fake's replica stays."""
    ran = coldspark("compare", "a", "b", "--body", "1", "--cold", "--cold-timeout", "0s")
    assert ran.code == 1
    assert "a and b still had replicas after 0 s: idle_timeout" in ran.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("a b", "--requests FILE, or --body JSON"),
        ("a b --body 1 --requests x.jsonl", "say what to send, once"),
        ("a b --body {", "--body 1 is not JSON"),
        ("a b --requests none.jsonl", "cannot be read"),
        ("a/ b --body 1", "'a/' must be NAME or NAME/VARIANT"),
        ("a b/int8 --body 1", "endpoint b has no variant 'int8': it has main"),
    ],
)
def test_what_cannot_be_compared_is_a_usage_error(
    coldspark: Shell, api: FakeApi, words: str, told: str
) -> None:
    """Before anything is sent."""
    ran = coldspark("compare", *words.split())
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert not [path for path, _, _ in api.sent if "invoke" in path]


@pytest.mark.parametrize("tolerance", ["nan", "inf"])
def test_a_tolerance_that_says_nothing_is_refused(coldspark: Shell, tolerance: str) -> None:
    """By it all answers would agree, or none."""
    ran = coldspark("compare", "a", "b", "--body", "1", "--tolerance", tolerance)
    assert ran.code == 2
    assert f"--tolerance {tolerance} must be finite" in ran.err
