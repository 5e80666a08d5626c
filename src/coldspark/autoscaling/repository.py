"""The targets, in memory and on disk: what ``save`` returns from is durable."""

from collections.abc import Iterable

import msgspec

from coldspark.autoscaling.scalable_target import Place, Target
from coldspark.platform.ports import Documents

DOOR, KIND = "application-autoscaling", "target"


class Book:
    """All targets. It has one writer, who awaits each change."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._targets: dict[str, Target] = {}

    async def open(self) -> None:
        """Read what is on disk."""
        for document in await self._documents.find(DOOR, KIND):
            target = msgspec.convert(document.body, Target)
            self._targets[target.place.key] = target

    def find(self, place: Place) -> Target | None:
        """Return a target, or None."""
        return self._targets.get(place.key)

    def all(self) -> list[Target]:
        """Return all targets by resource and dimension."""
        return [self._targets[key] for key in sorted(self._targets)]

    def of_variant(self, place: Place) -> Iterable[Target]:
        """Return the targets that scale the same variant."""
        return [one for one in self._targets.values() if one.place.resource == place.resource]

    async def save(self, target: Target) -> None:
        """Store or replace a target."""
        body: dict[str, object] = msgspec.to_builtins(target)
        await self._documents.put(DOOR, KIND, target.place.key, body)
        self._targets[target.place.key] = target

    async def drop(self, place: Place) -> None:
        """Forget a target and all that belongs to it."""
        await self._documents.delete(DOOR, KIND, place.key)
        self._targets.pop(place.key, None)
