"""Rules of composite alarms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.core.alarm_rules import RuleError, read_rule
from coldspark.core.alarms import AlarmState

ALARM, OK, DRY = AlarmState.ALARM, AlarmState.OK, AlarmState.INSUFFICIENT_DATA
STATES = {"hot": ALARM, "wet": OK, "dry one": DRY, "AND": ALARM}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("ALARM(hot)", True),
        ("ALARM( hot )AND OK(wet)", True),
        ('alarm("dry one") or INSUFFICIENT_DATA("dry one")', True),
        ("NOT ALARM(hot) OR ALARM(wet)", False),
        ("OK(wet) OR OK(hot) AND ALARM(wet)", True),
        ("(OK(wet) OR OK(hot)) AND ALARM(wet)", False),
        ("NOT (NOT (ALARM(hot)))", True),
        ("ALARM(AND) AND TRUE", True),
        ("FALSE OR TRUE()", True),
        ("ALARM(arn:aws:cloudwatch:us-east-1:123456789012:alarm:hot)", True),
        ("ALARM(gone) OR OK(gone) OR INSUFFICIENT_DATA(gone)", False),
    ],
)
def test_a_rule_holds_or_not(text: str, holds: bool) -> None:
    """AND binds stronger than OR; an alarm that is gone is in no state."""
    assert read_rule(text).holds(STATES) is holds


def test_a_rule_names_its_alarms() -> None:
    """Each once, whatever way it is written."""
    rule = read_rule('ALARM(a) OR OK("b c") OR NOT ALARM(arn:aws:cloudwatch:eu-west-1:1:alarm:a)')

    assert rule.names == {"a", "b c"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is expected at character 1"),
        ("ALARM", "'(' is expected"),
        ("ALARM()", "the name of an alarm"),
        ("ALARM(a) ALARM(b)", "AND, OR or the end"),
        ("ALARM(a) AND", "is expected"),
        ("(ALARM(a)", "')' is expected"),
        ("BROKEN(a)", "NOT, TRUE, FALSE or ( is expected"),
        ("(" * 99 + "TRUE" + ")" * 99, "nested deeper"),
        ("NOT " * 99 + "TRUE", "nested deeper"),
        (" OR ".join(f"ALARM(a{number})" for number in range(101)), "at most 100 alarms"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, words: str) -> None:
    """With the place."""
    with pytest.raises(RuleError) as caught:
        read_rule(text)
    assert words in str(caught.value)


@given(st.lists(st.sampled_from(["ALARM(a)", "OK(", ")", "AND", "NOT", "(", '"', "TRUE", " "])))
def test_any_text_is_a_rule_or_refused(words: list[str]) -> None:
    """Nothing else comes out."""
    try:
        rule = read_rule("".join(words))
    except RuleError:
        return
    assert rule.holds({"a": ALARM}) in (True, False)
