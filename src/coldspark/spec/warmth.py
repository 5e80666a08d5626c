"""The warmth levels that idleness may be pinned to. Its own module, as clients need it alone."""

from enum import StrEnum


class Warmth(StrEnum):
    """The warmth level that idle replicas fall to, and keep."""

    READY = "ready"
    """Once awake, none is ever parked or ended for idleness."""
    PARKED = "parked"
    """Parked when idle, and kept until somebody needs their memory."""
    TEMPLATED = "templated"
    """Ended when idle, without being parked; what is left is the template."""
