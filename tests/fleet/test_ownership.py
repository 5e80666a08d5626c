"""Every endpoint has one owner, and every process finds the same one."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from coldspark.cluster.ownership import owner_of


@given(name=st.text(), routers=st.integers(1, 64))
def test_every_name_has_an_owner_among_the_routers(name: str, routers: int) -> None:
    """Also a name that no endpoint may have: callers choose what they write into a URL."""
    assert owner_of(name, routers) in range(routers)
    assert owner_of(name, routers) == owner_of(name, routers)


def test_one_router_owns_all() -> None:
    """The default is what it was."""
    assert {owner_of(f"e{number}", 1) for number in range(100)} == {0}


def test_owners_are_spread_and_do_not_change_between_versions() -> None:
    """Of a thousand names no router of four has much more than its part."""
    counts = [0] * 4
    for number in range(1_000):
        counts[owner_of(f"endpoint-{number}", 4)] += 1
    assert min(counts) > 150
    assert owner_of("embed", 2) == 1


def test_another_process_finds_the_same_owners() -> None:
    """Python's own hash of a text would differ."""
    names = [f"endpoint-{number}" for number in range(50)]
    program = (
        "import sys; from coldspark.cluster.ownership import owner_of;"
        "print([owner_of(name, 3) for name in sys.argv[1:]])"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, *names],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONHASHSEED": "7"},
    )
    assert told.stdout.strip() == str([owner_of(name, 3) for name in names])
