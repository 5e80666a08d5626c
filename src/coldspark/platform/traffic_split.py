"""The variants that share an endpoint's requests by weight, and the hosted fleets that run them."""

from collections.abc import Iterable

from coldspark.platform.hosted_fleet import HostedFleet
from coldspark.spec.types import VariantDefinition, VariantName


class TrafficSplit:
    """Variants with their hosted fleets. There are two of them while a change is under way."""

    __slots__ = ("_credit", "hosted_fleets", "variants")

    def __init__(
        self, variants: tuple[VariantDefinition, ...], hosted_fleets: Iterable[HostedFleet] = ()
    ) -> None:
        self.variants = variants
        self.hosted_fleets: dict[VariantName, HostedFleet] = {
            hosted.variant: hosted for hosted in hosted_fleets
        }
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
        """Return the hosted fleets that another traffic split does not have."""
        shared = set(map(id, other.hosted_fleets.values()))
        return [hosted for hosted in self.hosted_fleets.values() if id(hosted) not in shared]
