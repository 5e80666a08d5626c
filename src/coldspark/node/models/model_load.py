"""What is said of a replica's models: what was loaded and evicted for one call."""

from dataclasses import dataclass

import msgspec


class ModelLoadReport(msgspec.Struct, frozen=True):
    """What a replica did so that a call could be answered; see ``worker/models``."""

    load_us: int | None = None
    unload_us: int = 0
    evicted: tuple[str, ...] = ()
    loaded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetModelOutcome:
    """What is known of one call's model once it is answered."""

    target: str
    fetch_us: int | None
    """None: its files were known to be here."""
    doings: ModelLoadReport

    @property
    def is_hit(self) -> bool:
        """Return whether the model was loaded already."""
        return self.doings.load_us is None

    def sentence(self) -> str | None:
        """Say for the log what was done, if anything was."""
        doings = self.doings
        if self.is_hit and not doings.evicted:
            return None
        loaded = "" if doings.load_us is None else f" loaded in {doings.load_us / 1e6:.2f} s"
        fetched = "" if self.fetch_us is None else f", fetched in {self.fetch_us / 1e6:.2f} s"
        evicted = f"; evicted: {', '.join(doings.evicted)}" if doings.evicted else ""
        return f"model {self.target}:{loaded}{fetched}{evicted}; {doings.loaded} are loaded"
