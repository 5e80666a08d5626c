"""What a template says, as it is decoded; ``worker/control`` names the fields."""

import msgspec

from coldspark.node.templates.fork_order import TemplateFailure
from coldspark.spec.types import RootCause

_TAIL_LINES = 50


class TemplateEvent(msgspec.Struct):
    """One event of any kind; each has some of the fields."""

    event: str
    replica: str = ""
    pid: int = 0
    status: int = 0
    import_us: int = 0
    load_us: int | None = None
    load_private_bytes: int | None = None
    fork_safe: bool = True
    has_model: bool = False
    has_setup: bool = False
    loads_ahead: bool = False
    learned: int = 0
    learned_us: int | None = None
    denied: dict[str, str] = {}
    standby: str = ""
    trouble: str | None = None
    reason: str | None = None
    cause: str = ""
    message: str = ""
    traceback: str | None = None


decode_event = msgspec.json.Decoder(TemplateEvent).decode


def failure_of(event: TemplateEvent) -> TemplateFailure:
    """Return why a template is broken, in its own words."""
    try:
        cause = RootCause(event.cause)
    except ValueError:
        cause = RootCause.UNKNOWN
    lines = tuple((event.traceback or "").splitlines()[-_TAIL_LINES:])
    return TemplateFailure(cause=cause, message=event.message, log_tail=lines)
