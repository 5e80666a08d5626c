"""One fleet as the controller holds it: its names, its timer."""

import asyncio

from coldspark.core.fleet import Fleet
from coldspark.core.types import EndpointName, FleetId, VariantName


class Cell:
    """One fleet in the controller: its names, its timer."""

    __slots__ = ("endpoint", "fleet", "id", "timer", "variant")

    def __init__(self, endpoint: EndpointName, variant: VariantName, fleet: Fleet) -> None:
        self.id: FleetId = fleet.id
        self.endpoint = endpoint
        self.variant = variant
        self.fleet = fleet
        self.timer: asyncio.TimerHandle | None = None
