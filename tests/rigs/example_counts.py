"""How many examples a property is tried with, where Hypothesis's own count does not suit it."""

from hypothesis import settings

_USUAL = settings.get_profile("default").max_examples


def examples(usual: int) -> int:
    """Return the count of the profile that is loaded, for a property that usually has so many.

    Usually 200: 40 in ``make test-fast``, 1,000 in ``make test-slow``.
    """
    return max(1, usual * settings().max_examples // _USUAL)
