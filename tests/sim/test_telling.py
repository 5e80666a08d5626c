"""A plan told: as data that JSON can hold, as pictures that are XML, as one page."""

import json
import xml.etree.ElementTree as xml
from html.parser import HTMLParser

import pytest
from plans import the_guides_plan

from coldspark.sim import charts, report
from coldspark.sim.plan_json import Json, histogram, to_json

pytestmark = pytest.mark.seconds


@pytest.fixture(scope="module")
def answer() -> Json:
    """Return the guide's example, told."""
    return to_json(the_guides_plan(), ["assumed: <nothing> & no more"])


def test_it_survives_json(answer: Json) -> None:
    """No infinity, no object."""
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    chosen = [one for one in answer["policies"] if one["is_chosen"]]
    assert [one["policy"] for one in chosen] == [answer["recommended"]["policy"]]
    assert chosen[0]["toml"] == answer["recommended"]["toml"]


@pytest.mark.parametrize("draw", [charts.frontier, charts.components, charts.arrivals])
def test_pictures_are_whole_and_hold_no_script(draw: object, answer: Json) -> None:
    """Well-formed SVG, every number finite."""
    text = draw(answer)  # type: ignore[operator]
    root = xml.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "nan" not in text
    assert "inf" not in text
    assert "script" not in text


def test_every_policy_is_a_spot_and_the_frontier_a_line(answer: Json) -> None:
    """Nothing that was tried is hidden."""
    root = xml.fromstring(charts.frontier(answer))
    name = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{name}circle")) == len(answer["policies"])
    line = root.find(f"{name}polyline")
    assert line is not None
    best = [one for one in answer["policies"] if one["is_on_frontier"]]
    assert len(line.attrib["points"].split()) == len(best)


def test_the_page_needs_nothing_else_and_escapes_what_it_is_given(answer: Json) -> None:
    """No address is loaded; words of users are text."""
    text = report.page(answer)
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(f"{name}" for name, _ in attrs if name in ("src", "href"))
            assert tag not in ("script", "link", "img")

    Reader().feed(text)
    assert found == []
    assert "assumed: &lt;nothing&gt; &amp; no more" in text
    assert answer["recommended"]["toml"].splitlines()[1] in text


def test_every_request_is_in_the_histogram() -> None:
    """The last one too, which may lie on the period's end."""
    found = histogram([0.0, 3599.0, 3600.0, 7200.0], 7200.0)
    assert found == {"window_s": 3600.0, "counts": [2, 2]}
    assert sum(histogram([5.0] * 9, 10.0)["counts"]) == 9
