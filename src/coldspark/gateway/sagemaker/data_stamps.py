"""A revision of the model data as it is now: an archive may be overwritten under its own URL.

AWS deploys anew with each UpdateEndpoint. Here replicas that would be the same serve on; so what
lies at their URLs has to be part of what "the same" is. Only then does an update bring what a
training has written over the last one's archive.
"""

import asyncio
from dataclasses import replace
from typing import Protocol

from coldspark.core.types import Revision, VariantDefinition, revision_id
from coldspark.errors import ArtifactUnavailable
from coldspark.store.specs import spec_json

_LOOK_S = 5.0
"""For all data of one variant: a request waits for it."""


class ModelData(Protocol):
    """Where models lie."""

    async def stamp(self, url: str) -> str:
        """Return what changes when the data at a URL does. Raises ArtifactUnavailable."""


async def stamped(data: ModelData | None, variant: VariantDefinition) -> VariantDefinition:
    """Return the variant under an id that its model data has a part in.

    What cannot be looked at leaves the id as it is: whoever starts it says what is wrong.
    """
    spec = variant.revision.spec
    urls = sorted(url for url in spec.sources if not url.startswith("artifact:"))
    if data is None or not urls:
        return variant
    try:
        async with asyncio.timeout(_LOOK_S):
            stamps = [await data.stamp(url) for url in urls]
    except (ArtifactUnavailable, TimeoutError):
        return variant
    id = revision_id("\0".join([spec_json(spec).decode(), *stamps]).encode())
    return replace(variant, revision=Revision(id=id, spec=spec))
