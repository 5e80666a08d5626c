"""One fleet as the controller holds it: its names, its timer."""

import asyncio
from collections.abc import Callable

from coldspark.fleet.fleet import Fleet
from coldspark.spec.types import EndpointName, FleetId, VariantName


class HostedFleet:
    """One fleet in the controller: its names, its timer."""

    __slots__ = ("endpoint", "fleet", "id", "is_shadow", "timer", "variant", "watch")

    def __init__(self, endpoint: EndpointName, variant: VariantName, fleet: Fleet) -> None:
        self.id: FleetId = fleet.id
        self.endpoint = endpoint
        self.variant = variant
        self.fleet = fleet
        self.timer: asyncio.TimerHandle | None = None
        self.watch: Callable[[], None] | None = None
        """Called when something came of a replica; the fleet may hear of it only after that."""
        self.is_shadow = False
        """Nobody waits for its answers: its replicas go first when room is short."""
