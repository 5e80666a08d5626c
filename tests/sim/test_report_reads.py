"""A plan's page and pictures say what they show, on a telephone too, and hide nothing."""

import re
import xml.etree.ElementTree as xml
from copy import deepcopy

import pytest
from plans import the_guides_plan

from coldspark.sim import charts, report
from coldspark.sim.plan_json import Json, to_json

pytestmark = pytest.mark.seconds

_SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def answer() -> Json:
    """Return the guide's example, told."""
    return to_json(the_guides_plan())


def _texts(picture: str) -> list[str]:
    return [each.text or "" for each in xml.fromstring(picture).iter(f"{_SVG}text")]


def test_the_page_has_the_width_of_the_telephone_and_pictures_keep_their_size(
    answer: Json,
) -> None:
    """Without a viewport it is shown as a desktop's; a picture that shrinks cannot be read."""
    text = report.page(answer)
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert text.count('<div class="wide"><svg') == text.count("<svg") == 3


def test_a_rate_in_a_sentence_is_not_a_number_that_cannot_wrap(answer: Json) -> None:
    """The column of break-evens was pushed out of the page."""
    answer = deepcopy(answer)
    answer["platforms"][1]["break_even"] = {"requests_a_day": 2000.0, "why": "against X"}
    assert "<td>2,000 a day, against X</td>" in report.page(answer)


def test_the_frontier_says_what_its_spots_and_axes_are(answer: Json) -> None:
    """Filled, hollow, recommended; logarithmic axes; both ends by their names."""
    texts = _texts(charts.frontier(answer))
    assert "on the frontier" in texts
    assert "beaten in both" in texts
    assert "cost a month, dollars (logarithmic)" in texts
    assert "mean wait, seconds (logarithmic)" in texts
    best = sorted(
        (one for one in answer["policies"] if one["is_on_frontier"]),
        key=lambda one: one["month_nanos"],
    )
    for end in (best[0], best[-1]):
        assert any(end["policy"] in text for text in texts)


def test_a_picture_of_its_own_has_paper(answer: Json) -> None:
    """Black on nothing cannot be seen in a dark viewer."""
    assert xml.fromstring(charts.frontier(answer, paper="#fff")).find(f"{_SVG}rect") is not None


def test_a_dear_platform_does_not_hide_the_others(answer: Json) -> None:
    """One bar of a hundred times the cost is cut off, and says so."""
    answer = deepcopy(answer)
    priced = [row for row in answer["platforms"] if row["month_nanos"] is not None]
    dearest = max(priced, key=lambda row: row["month_nanos"])
    others = max(row["month_nanos"] for row in priced if row is not dearest)
    dearest["parts"] = {"compute": 100 * others}
    dearest["month_nanos"] = 100 * others

    picture = charts.components(answer)

    widths = [float(found) for found in re.findall(r'width="([0-9.]+)" height="18"', picture)]
    assert any(width > 80 for width in sorted(widths)[:-1])
    assert any("cut off" in text for text in _texts(picture))


def test_an_estimated_sum_is_marked_in_the_picture_too(answer: Json) -> None:
    """As it is in the tables."""
    answer = deepcopy(answer)
    for row in answer["platforms"]:
        row["is_estimated"] = True
    assert any(text.startswith("~$") for text in _texts(charts.components(answer)))


def test_the_page_says_what_is_missing_from_a_sum_and_who_was_not_served(answer: Json) -> None:
    """As the terminal does."""
    answer = deepcopy(answer)
    row = next(row for row in answer["platforms"] if row["month_nanos"] is not None)
    row["missing"], row["unserved"] = ["a rate for storage"], 3
    text = report.page(answer)
    assert "missing from the sum: a rate for storage" in text
    assert "some requests were not taken before the period ended: raise --max" in text
    assert "dedicated: the fewest replicas" in text
    assert "<p></p>" not in text
