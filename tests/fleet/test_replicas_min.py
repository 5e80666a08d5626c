"""``replicas_min`` is a floor under every rule, from the first moment on."""

import pytest
from worlds import World, a_fleet

from coldspark.spec.messages import RequestReservation, Ticked
from coldspark.spec.scaling_rules import RULES, Rule, rule_name


@pytest.mark.parametrize("kind", RULES, ids=rule_name)
def test_provisioned_replicas_are_started_whatever_the_rule(kind: type[Rule]) -> None:
    """Other rules kept what had once been started, but started none for the floor."""
    world = World(a_fleet(replicas_min=2, replicas_max=4, rule=kind()))
    effects = world.step(Ticked(), 0.0)
    assert len([one for one in effects if isinstance(one, RequestReservation)]) == 2
