"""Windows of the week in which another floor holds: what they are, and which of several prevails.

When a window begins is a cron expression. It is only a word here: rooms above read it, and tell the
fleet by ``ScaleBoundsChanged``.
"""

from collections.abc import Iterable
from dataclasses import dataclass

WINDOWS_MAX = 32
_LASTS_LEAST_S, _LASTS_MOST_S = 60.0, 31 * 86_400.0
_WORDS_MAX = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledWindow:
    """From each time that ``cron`` names, for ``lasts_s``, the floor is ``replicas_min``."""

    cron: str
    """Five fields: minute, hour, day of the month, month, day of the week."""
    lasts_s: float
    """Elapsed seconds: where the clocks change within it, it ends at another time of the day."""
    replicas_min: int
    replicas_max: int | None = None
    """None: the policy's own."""
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        for name in ("cron", "time_zone"):
            if not 0 < len(getattr(self, name)) <= _WORDS_MAX:
                raise ValueError(f"window {name}={getattr(self, name)!r} must have 1-128 letters")
        if not _LASTS_LEAST_S <= self.lasts_s <= _LASTS_MOST_S:
            raise ValueError(
                f"window {self.cron!r}: lasts={self.lasts_s:g} s must lie in 60 s to 31 days"
            )
        if self.replicas_min < 0:
            raise ValueError(f"window {self.cron!r}: min={self.replicas_min} must not be negative")
        most = self.replicas_max
        if most is not None and not max(1, self.replicas_min) <= most <= 10_000:
            raise ValueError(
                f"window {self.cron!r}: max={most} must lie in {max(1, self.replicas_min)}..10000"
            )

    def replicas_max_under(self, policy_max: int) -> int:
        """Return its ceiling under a policy with this maximum."""
        return policy_max if self.replicas_max is None else self.replicas_max

    def __str__(self) -> str:
        return f"window {self.cron} {self.time_zone}"


def check_windows(windows: tuple[ScheduledWindow, ...], policy_max: int) -> None:
    """Refuse what a policy cannot hold. Raises ValueError."""
    if len(windows) > WINDOWS_MAX:
        raise ValueError(f"{len(windows)} windows: {WINDOWS_MAX} are the most")
    for window in windows:
        if window.replicas_min > window.replicas_max_under(policy_max):
            raise ValueError(
                f"window {window.cron!r}: min={window.replicas_min} is over max={policy_max}:"
                " give the window a max, or raise the policy's"
            )


def effective_window(windows: Iterable[ScheduledWindow], policy_max: int) -> ScheduledWindow | None:
    """Return which of the windows that are open holds: the highest floor, then ceiling, wins."""
    return max(
        windows,
        key=lambda window: (window.replicas_min, window.replicas_max_under(policy_max)),
        default=None,
    )
