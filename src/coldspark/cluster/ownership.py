"""Which router an endpoint belongs to: exactly one, on which all agree without messages.

The hash is CRC-32, which is the same in every process and version (Python's own ``hash`` of a text
differs from process to process). Nothing on disk depends on it, so the number of routers may change
from one start to the next.
"""

from zlib import crc32

PRIMARY = 0
"""The router that owns what belongs to no endpoint."""


def owner_of(endpoint: str, routers: int) -> int:
    """Return the number of the router, from 0, that an endpoint belongs to.

    Worked number: ``embed`` has the CRC-32 1_203_373_331, so of 2 routers it belongs to router 1.
    """
    return crc32(endpoint.encode("utf-8", "surrogatepass")) % routers
