"""How long a template's imports and its model took, and the private memory that the model made."""

from __future__ import annotations

import time

Times = dict[str, int]
"""Fields of the ``prepared`` event."""


class Stopwatch:
    """Started when it is made; ``times`` go into the template's ``prepared`` event."""

    def __init__(self) -> None:
        self._mark_ns = time.perf_counter_ns()
        self._private_bytes = 0
        self.times: Times = {}

    def imported(self) -> None:
        """Note that the program is imported."""
        self.times["import_us"] = self._lap_us()
        self._private_bytes = private_bytes()

    def learned(self) -> None:
        """Note that what replicas would import later is imported."""
        self.times["learned_us"] = self._lap_us()
        self._private_bytes = private_bytes()

    def loaded(self, *, is_held: bool) -> None:
        """Note that the model is loaded, if it is."""
        if not is_held:
            return
        self.times["load_us"] = self._lap_us()
        self.times["load_private_bytes"] = max(0, private_bytes() - self._private_bytes)

    def _lap_us(self) -> int:
        now_ns = time.perf_counter_ns()
        lap_us, self._mark_ns = (now_ns - self._mark_ns) // 1000, now_ns
        return lap_us


def private_bytes() -> int:
    """Return this process's anonymous memory: what a mapped file holds is not counted."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0
