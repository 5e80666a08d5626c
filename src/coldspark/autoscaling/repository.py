"""The targets, in memory and on disk: durable when ``save`` returns."""

from collections.abc import Iterable

import msgspec

from coldspark.autoscaling.scalable_target import ScalableTarget, TargetId
from coldspark.platform.ports import DocumentStore

DOOR, KIND = "autoscaling", "target"


class TargetRepository:
    """All targets. It has one writer, who awaits each change."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents
        self._targets: dict[str, ScalableTarget] = {}

    async def open(self) -> None:
        """Read what is on disk."""
        for document in await self._documents.find(DOOR, KIND):
            target = msgspec.convert(document.body, ScalableTarget)
            self._targets[target.place.key] = target

    def find(self, place: TargetId) -> ScalableTarget | None:
        """Return a target, or None."""
        return self._targets.get(place.key)

    def all(self) -> list[ScalableTarget]:
        """Return all targets by resource and dimension."""
        return [self._targets[key] for key in sorted(self._targets)]

    def of_variant(self, place: TargetId) -> Iterable[ScalableTarget]:
        """Return the targets that scale the same variant."""
        return [one for one in self._targets.values() if str(one.place) == str(place)]

    async def save(self, target: ScalableTarget) -> None:
        """Store or replace a target."""
        body: dict[str, object] = msgspec.to_builtins(target)
        await self._documents.put(DOOR, KIND, target.place.key, body)
        self._targets[target.place.key] = target

    async def drop(self, place: TargetId) -> None:
        """Forget a target and all that belongs to it."""
        await self._documents.delete(DOOR, KIND, place.key)
        self._targets.pop(place.key, None)
