"""The variants that share an endpoint's requests by weight, and the cells that run them."""

from collections.abc import Iterable

from coldspark.platform.hosted_fleet import HostedFleet
from coldspark.spec.types import VariantDefinition, VariantName


class TrafficSplit:
    """Variants with their cells. There are two of them while a change is under way."""

    __slots__ = ("_credit", "cells", "variants")

    def __init__(
        self, variants: tuple[VariantDefinition, ...], cells: Iterable[HostedFleet] = ()
    ) -> None:
        self.variants = variants
        self.cells: dict[VariantName, HostedFleet] = {cell.variant: cell for cell in cells}
        self._credit: dict[VariantName, float] = {variant.name: 0.0 for variant in variants}

    def next_variant(self) -> VariantName:
        """Return whose turn it is.

        Smooth weighted round robin: each choice adds the weights, the largest credit pays.
        """
        variants = self.variants
        if len(variants) == 1:
            return variants[0].name
        credit = self._credit
        for variant in variants:
            credit[variant.name] += variant.weight
        chosen = max(variants, key=lambda variant: credit[variant.name])
        credit[chosen.name] -= sum(variant.weight for variant in variants)
        return chosen.name

    def fleets_not_in(self, other: "TrafficSplit") -> list[HostedFleet]:
        """Return the cells that another lineup does not have."""
        shared = set(map(id, other.cells.values()))
        return [cell for cell in self.cells.values() if id(cell) not in shared]
