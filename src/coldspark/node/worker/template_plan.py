"""What a template shall hold before the fork, and one rung less of it once that was found unsafe.

The rungs, highest first: imports, ``setup_fn`` and the model; imports and ``setup_fn``; imports
alone; nothing. A plan travels through the exec by which a template starts over, so it is JSON.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

_DENIALS_MAX = 3


@dataclass
class TemplatePlan:
    """One attempt."""

    program: str | None
    paths: list[str] = field(default_factory=list)
    model_dir: str | None = None
    """Load the model from there; None: each replica does."""
    setup_dir: str | None = None
    """Without the model: run the program's ``setup_fn`` all the same, on this directory."""
    learned: list[str] = field(default_factory=list)
    """Modules that replicas were seen to import later, in their order."""
    denied: dict[str, str] = field(default_factory=dict)
    """Those of them that cannot be imported before a fork, and why."""
    denials: int = 0
    """How often the template started over for that."""
    ahead_dir: str | None = None
    """A process that stands by may load the model from there: it is safe only after the fork."""
    lost: str | None = None
    """Why what is held is not all."""
    unsafe: str | None = None
    """Why nothing is held, and replicas are not forked."""
    import_us: int = 0

    def to_json(self) -> str:
        """Write it for the next execution."""
        return json.dumps(asdict(self))

    def deny(self, names: dict[str, str]) -> None:
        """Leave some of the learned modules out; the third time, leave them all out."""
        self.denied.update(names)
        self.denials += 1
        if self.denials >= _DENIALS_MAX:
            rest = [name for name in self.learned if name not in self.denied]
            self.denied.update(dict.fromkeys(rest, "too many of those before it were refused"))
        self.learned = [name for name in self.learned if name not in self.denied]

    def lower(self, reason: str, *, has_setup: bool, was_load_refused: bool) -> None:
        """Hold one rung less. ``was_load_refused``: the model's own code failed here."""
        if self.model_dir is not None:
            self.lost = f"its model is loaded after the fork: {reason}"
            # What failed before the fork would fail as much in a process that has no order yet.
            self.ahead_dir = None if was_load_refused else self.model_dir
            self.setup_dir = self.model_dir if has_setup else None
            self.model_dir = None
        elif self.setup_dir is not None:
            self.lost = f"its setup runs after the fork: {reason}"
            self.setup_dir = None
        else:
            self.unsafe = reason


def from_json(text: str) -> TemplatePlan:
    """Read what ``to_json`` wrote."""
    return TemplatePlan(**json.loads(text))
