"""Money is integer nano-dollars: rounded in one place, and formatted for people in another."""

import math

NANOS_PER_DOLLAR = 1_000_000_000
HOUR_MS = 3_600_000


def charge_nanos(quantity: int, rate_nanos: int, per: int = 1) -> int:
    """Return ``quantity / per * rate`` rounded half up: the one place where prices are rounded.

    Worked number: 2,000 ms at $0.15 an hour (150_000_000 nanos) is 83_333 nanos.
    """
    return (2 * quantity * rate_nanos + per) // (2 * per)


def format_dollars(nanos: int) -> str:
    """Format money for a person: cents from a dollar up, else up to three digits that count."""
    dollars = nanos / NANOS_PER_DOLLAR
    if nanos == 0 or abs(dollars) >= 0.995:
        return f"${dollars:,.2f}"
    digits = min(9, 2 - math.floor(math.log10(abs(dollars))))
    return f"${dollars:.{digits}f}"
