"""Filter patterns: AWS's own examples, refusals in words, and no pattern that takes for ever."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.doors.aws.logs.filter_patterns.conditions import wildcard
from coldspark.doors.aws.logs.filter_patterns.field_patterns import split_fields
from coldspark.doors.aws.logs.filter_patterns.patterns import compile_pattern
from coldspark.telemetry.expressions import ExpressionError

EVENT = json.dumps(
    {
        "eventType": "UpdateTrail",
        "sourceIPAddress": "111.111.111.111",
        "arrayKey": ["value", "another value"],
        "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
        "SomeObject": None,
        "ThisFlag": True,
        "code": "403",
        "bandwidth": 54.5,
        "a.b": "dotted",
    }
)
LINE = '127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'


def matches(pattern: str, message: str) -> bool:
    return compile_pattern(pattern)(message)


@pytest.mark.parametrize(
    ("pattern", "wanted", "unwanted"),
    [
        ("", "anything", None),
        ("ERROR", "[ERROR 400] BAD REQUEST", "[error 400]"),
        ("ERROR ARGUMENTS", "ERROR 419 MISSING ARGUMENTS", "ERROR 400 BAD REQUEST"),
        ("?ERROR ?ARGUMENTS", "MISSING ARGUMENTS", "all is well"),
        ("ERROR -ARGUMENTS", "ERROR 400 BAD REQUEST", "ERROR 419 MISSING ARGUMENTS"),
        ('"INTERNAL SERVER ERROR"', "[ERROR 500] INTERNAL SERVER ERROR", "INTERNAL ERROR SERVER"),
        (r'"say \"hi\""', 'they say "hi"', "they say hi"),
    ],
)
def test_terms(pattern: str, wanted: str, unwanted: str | None) -> None:
    """Anywhere in the event; case counts."""
    assert matches(pattern, wanted)
    assert unwanted is None or not matches(pattern, unwanted)


@pytest.mark.parametrize(
    "pattern",
    [
        '{ $.eventType = "UpdateTrail" }',
        '{ $.eventType = "Update*" }',
        "{ $.eventType = *Trail }",
        "{ $.sourceIPAddress = 111.* }",
        '{ $.sourceIPAddress != 123.123.* && $.eventType != "x" }',
        '{ $.arrayKey[0] = "value" }',
        '{ $.arrayKey[*] = "another value" }',
        "{ $.objectList[1].id = 2 }",
        "{ $.objectList[*].id > 1 }",
        "{ $.SomeObject IS NULL }",
        "{ $.SomeOtherObject NOT EXISTS }",
        "{ $.SomeObject EXISTS }",
        "{ $.ThisFlag IS TRUE }",
        "{ $.code = 403 }",
        "{ $.bandwidth > 5e1 && $.bandwidth <= 54.5 }",
        '{ ($.eventType = "no" || $.ThisFlag IS TRUE) && ($.bandwidth >= 1) }',
        '{ $["a.b"] = "dotted" }',
        '{$.eventType="UpdateTrail"}',
    ],
)
def test_json_conditions_that_hold(pattern: str) -> None:
    """Members by selector, with AND before OR."""
    assert matches(pattern, EVENT)


@pytest.mark.parametrize(
    "pattern",
    [
        '{ $.eventType = "updatetrail" }',
        "{ $.missing = 1 }",
        "{ $.missing != 1 }",
        "{ $.ThisFlag IS FALSE }",
        "{ $.ThisFlag IS NULL }",
        "{ $.eventType > 3 }",
        "{ $.bandwidth > 54.5 }",
        "{ $.arrayKey[7] = value }",
        "{ $.ThisFlag IS FALSE && $.bandwidth > 1 || $.code = 1 }",
    ],
)
def test_json_conditions_that_do_not_hold(pattern: str) -> None:
    """A member that is absent fulfils no comparison, as on AWS."""
    assert not matches(pattern, EVENT)


def test_what_is_no_json_object_matches_no_json_pattern() -> None:
    """Nor does JSON that is cut short, or nested without end."""
    for message in ("plain", "[1]", "{", '{"a":' * 100_000):
        assert not matches("{ $.a NOT EXISTS }", message)


@pytest.mark.parametrize(
    ("pattern", "is_wanted"),
    [
        ("[ip, user, username, timestamp, request, status_code, bytes]", True),
        ("[ip, user, username, timestamp, request, status_code = 4*, bytes > 1000]", True),
        ("[ip, user, username, timestamp, request = *html*, status_code = 4*, bytes]", True),
        ("[..., status_code = 404 || status_code = 5*, bytes]", True),
        ("[ip, ..., bytes >= 1534 && bytes != 7]", True),
        ("[ip, user]", False),
        ("[..., status_code = 5*, bytes]", False),
        ('[ip, user = "Dev", ...]', False),
    ],
)
def test_fields_of_a_line(pattern: str, is_wanted: bool) -> None:
    """What stands in brackets or quotes is one field; an ellipsis is any number of them."""
    assert matches(pattern, LINE) == is_wanted


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ('"open', "never closed"),
        ("ERROR ?WARN", "cannot stand beside others"),
        ("foo(bar)", "must stand in double quotes"),
        ("{ }", "a condition is expected"),
        ("{ $.a }", "one of != >= <= = > < is expected"),
        ("{ $ = 1 }", "a selector names a member"),
        ("{ $.a = 1 } x", "nothing can follow }"),
        ("{ $.a = 1", "'}' is expected"),
        ("{ $.a > x }", "compares with a number"),
        ("{ " + "(" * 40 + "$.a=1" + ")" * 40 + " }", "nested deeper than 32"),
        ("[a, ..., b, ...]", "one ellipsis at most"),
        ("[a = 1 && b = 2]", "must name it again"),
        (r"%4\d\d%", "use terms, such as ?one ?other, or a JSON comparison"),
        ("{ $.eventType = %^Up% }", "regular expressions are not served here"),
        (r"[ip = %127\.0% , ...]", "regular expressions are not served here"),
    ],
)
def test_what_is_not_understood_is_refused_in_words(pattern: str, words: str) -> None:
    """The message says what is wrong, and where."""
    with pytest.raises(ExpressionError, match=re.escape(words)) as caught:
        compile_pattern(pattern)
    assert "at character" in str(caught.value)


@given(st.text(alphabet='ab1 *?-"%{}[]()$.=<>!&|,\\^+:ISNULXT', max_size=60), st.text(max_size=40))
def test_any_text_is_a_pattern_or_is_refused(pattern: str, message: str) -> None:
    """Nothing else ever comes of one."""
    try:
        compiled = compile_pattern(pattern)
    except ExpressionError:
        return
    assert compiled(message) in (True, False)


@given(st.text(alphabet="ab*", max_size=8), st.text(alphabet="ab", max_size=10))
def test_wildcards_are_what_a_regex_says(form: str, text: str) -> None:
    """Each star is any text, also none."""
    expected = re.fullmatch(form.replace("*", ".*"), text) is not None
    assert wildcard(list(form)).matches(text) == expected


@given(st.text(alphabet='ab[]" ', max_size=30))
def test_splitting_loses_no_word(line: str) -> None:
    """Every letter is in some field, in order."""
    letters = [one for one in line if one in "ab"]
    assert [one for value in split_fields(line) for one in value if one in "ab"] == letters


def test_splitting_takes_linear_time() -> None:
    """Brackets that never close are looked for once."""
    assert len(split_fields("[ " * 200_000)) == 200_000
