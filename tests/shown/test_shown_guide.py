"""The guide's two examples, as ``examples/plans.py`` shows them to a reader."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples/plans.py"
FIGURES = {
    "provisioned concurrency": ("$38", "$38.16"),
    "invocations": ("$21", "$21.00"),
    "GPU compute": ("~$100", "$2.50"),
    "together": ("~$160", "$61.66"),
    "dedicated A10G": ("~$550", "$547.20"),
}


@pytest.mark.process
def test_the_guides_examples_stand_beside_what_its_rates_give() -> None:
    """Each printed figure with the one that follows from its inputs; the chatbot within 5 s."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    for name, (printed, computed) in FIGURES.items():
        assert re.search(
            rf"^{name} +{re.escape(printed)} +{re.escape(computed)}$", done.stdout, re.M
        ), name
    even = re.search(r"^break-even, requests a day .* ([\d,]+)$", done.stdout, re.M)
    assert even is not None
    assert 20_000 < int(even[1].replace(",", "")) < 24_000
    here = re.search(r"^coldspark on your own machine .* ([\d.]+) s +[\d.]+%$", done.stdout, re.M)
    assert here is not None
    assert float(here[1]) <= 5.0
    assert "[scale]\nmax = 4\n" in done.stdout
