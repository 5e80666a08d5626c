"""What the controller asks of placement, wherever that is."""

from collections.abc import Iterable
from typing import Protocol

from coldspark.core.messages import Grant, PlacementEffect, PlacementEvent
from coldspark.core.types import ReplicaId, Resources


class Rooms(Protocol):
    """Placement, in this process or another one's. ``core/placement.py`` is the model."""

    def step(self, event: PlacementEvent, now: float) -> list[PlacementEffect]:
        """Take one event; return what shall be done now. More may come of it later."""

    def grant(self, replica: ReplicaId) -> Grant | None:
        """Return the room that a replica holds."""

    def refusal(self, resources: Resources) -> str | None:
        """Say why no node could ever hold this, and what would; None when one could."""

    def holds_together(self, wanted: Iterable[Resources]) -> bool:
        """Return whether the nodes could hold all of these at once if they were empty."""
