"""The rungs that idleness may be pinned to. Its own module, as clients need it and no more."""

from enum import StrEnum


class Warmth(StrEnum):
    """The rung that idle replicas go down to, and stay on."""

    READY = "ready"
    """Once awake, none is ever parked or ended for idleness."""
    PARKED = "parked"
    """Frozen when idle, and kept until somebody needs their memory."""
    TEMPLATED = "templated"
    """Ended when idle, without being parked; what is left is the template."""
