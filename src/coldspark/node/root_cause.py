"""Name why a replica ended, from what was seen of it. Pure.

The order of belief: what the kernel says (out of memory), what the replica said itself (BROKEN),
what its log says, and last the bare exit status.
"""

import re
import signal
from dataclasses import dataclass

from coldspark.spec.types import MIB, RootCause

_MODEL, _MEMORY, _IMPORT = (
    RootCause.MODEL_FILE_MISSING,
    RootCause.OUT_OF_MEMORY,
    RootCause.IMPORT_ERROR,
)
_MESSAGE_CHARS_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitEvidence:
    """What was seen of a replica that ended."""

    exit_status: int | None
    """Exit code, or minus the signal's number; None when there never was a process."""
    log_tail: tuple[str, ...] = ()
    broken: tuple[RootCause, str] | None = None
    """Cause and message of the replica's own BROKEN word."""
    oom_limit_bytes: int | None = None
    """The memory limit, if the kernel killed a process of the replica for it."""
    was_ready: bool = False
    was_stopped: bool = False
    """The platform had asked it to end."""
    unopened_port: int | None = None
    """The port that a command was told to open and never did."""
    violation: str | None = None
    """How the replica broke the channel's rules."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    pattern: re.Pattern[str]
    cause: RootCause
    cure: str
    """A sentence; ``{0}`` is the first group."""


def _p(pattern: str, cause: RootCause, cure: str) -> _Pattern:
    return _Pattern(re.compile(pattern), cause, cure)


_PATTERNS = (
    _p(
        r"CUDA out of memory|CUDA error: out of memory|cudaErrorMemoryAllocation"
        r"|torch\.OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED",
        _MEMORY,
        "The GPU ran out of memory: ask for a larger GPU, or load the model in a smaller dtype.",
    ),
    _p(
        r"\bMemoryError\b|std::bad_alloc|Cannot allocate memory"
        r"|DefaultCPUAllocator: can't allocate",
        _MEMORY,
        "The process ran out of memory: raise memory_bytes, or load a smaller model.",
    ),
    _p(
        r"ModuleNotFoundError: No module named '([^']+)'",
        _IMPORT,
        "Python found no module {0!r}: add its package to requirements.txt.",
    ),
    _p(
        r"(?:ImportError|OSError): (lib[\w.+-]+): cannot open shared object file",
        _IMPORT,
        "The shared library {0} is missing: install it on this machine or add the package that"
        " ships it to requirements.txt.",
    ),
    _p(
        r"ImportError: (.+)",
        _IMPORT,
        "An import failed ({0}): check the versions in requirements.txt.",
    ),
    _p(
        r"SyntaxError: (.+)|IndentationError: (.+)",
        RootCause.HANDLER_INVALID,
        "The code does not parse ({0}): run it with this environment's Python first.",
    ),
    _p(
        r"Address already in use|address already in use|EADDRINUSE",
        RootCause.PORT_NEVER_OPENED,
        "Its port was taken: bind the port in $SAGEMAKER_BIND_TO_PORT (also $PORT), not a fixed"
        " one.",
    ),
    _p(
        r"Can't load tokenizer for '([^']+)'|does not appear to have a file named (\S+)"
        r"|no file named (\S+)[^\n]*found in directory",
        _MODEL,
        "The model data lacks {0}: check what the archive holds and the path that is loaded.",
    ),
    _p(
        r"FileNotFoundError: \[Errno 2\] No such file or directory: '([^']+)'",
        _MODEL,
        "The file {0} does not exist: check what the model archive holds and the path that is"
        " opened.",
    ),
    _p(
        r"FileNotFoundError: (.+)|(\S+): No such file or directory|No such file or directory:? (.+)"
        r"|can't open file '([^']+)'",
        _MODEL,
        "A file is missing ({0}): check what the model archive holds and the path that is opened.",
    ),
    _p(
        r"SafetensorError|UnpicklingError|PytorchStreamReader failed|invalid header or archive",
        _MODEL,
        "A model file is damaged or not what its name says: build and upload the archive again.",
    ),
    _p(
        r"(?i)^(?:.*: )?killed$",
        RootCause.KILLED,
        "A process of it was killed from outside: see this machine's kernel log.",
    ),
)

_SIGNALS = {
    signal.SIGKILL: "something outside killed it (the kernel's memory killer does, on a machine"
    " that is out of memory)",
    signal.SIGSEGV: "native code crashed: check that the compiled packages fit each other",
    signal.SIGABRT: "native code gave up: its reason is in the log's last lines",
    signal.SIGILL: "native code used an instruction that this CPU lacks: install a build for it",
    signal.SIGBUS: "a mapped file shrank or the disk is full: never overwrite model files in place",
    signal.SIGTERM: "something outside asked it to end",
}


def diagnose(evidence: ExitEvidence) -> tuple[RootCause, str]:
    """Return the root cause and one sentence that names the cure."""
    cause, words = _believe(evidence)
    return cause, f"{words} ({describe_status(evidence.exit_status)})"[:_MESSAGE_CHARS_MAX]


def describe_status(status: int | None) -> str:
    """Return the exit status or signal in words."""
    if status is None:
        return "no process"
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"


def _believe(evidence: ExitEvidence) -> tuple[RootCause, str]:
    if evidence.oom_limit_bytes is not None:
        limit = f"{evidence.oom_limit_bytes // MIB} MiB"
        return _MEMORY, f"It used more than its {limit} of memory: raise memory_bytes."
    if evidence.was_stopped:
        return _stopped(evidence)
    if evidence.violation is not None:
        return RootCause.HANDLER_INVALID, (
            f"It {evidence.violation}: the handler must not write to the platform's channel."
        )
    if evidence.broken is not None:
        return _broken(*evidence.broken)
    # A replica that served and then died of a signal did not die of what its log once said.
    if not (evidence.was_ready and (evidence.exit_status or 0) < 0):
        for line in reversed(evidence.log_tail):
            if (found := match_line(line)) is not None:
                return found
    return _by_status(evidence)


def match_line(line: str) -> tuple[RootCause, str] | None:
    """Return cause and cure that one line of a log tells of, or None."""
    for entry in _PATTERNS:
        if (match := entry.pattern.search(line)) is not None:
            groups = [group for group in match.groups() if group is not None]
            return entry.cause, entry.cure.format(*(groups or [line.strip()]))
    return None


def _broken(cause: RootCause, message: str) -> tuple[RootCause, str]:
    """Add the cure that the message lets us name; the replica's own words come first."""
    found = match_line(message)
    words = message.strip() or "It could not load."
    if found is None or found[1] in words:
        return cause, words
    if cause in (RootCause.UNKNOWN, found[0]):
        return found[0], f"{words}: {found[1]}"
    return cause, words


def _stopped(evidence: ExitEvidence) -> tuple[RootCause, str]:
    if evidence.unopened_port is not None:
        return RootCause.PORT_NEVER_OPENED, (
            f"It never answered 200 on port {evidence.unopened_port}: bind the port in"
            " $SAGEMAKER_BIND_TO_PORT (also $PORT) and answer the ping path"
        )
    return RootCause.KILLED, "The platform stopped it"


def _by_status(evidence: ExitEvidence) -> tuple[RootCause, str]:
    status = evidence.exit_status
    if status is not None and status < 0:
        reason = _SIGNALS.get(signal.Signals(-status)) if -status in _known() else None
        return RootCause.KILLED, f"It died of a signal: {reason or 'its log may say why'}"
    if evidence.unopened_port is not None:
        return RootCause.PORT_NEVER_OPENED, (
            f"It ended before it opened port {evidence.unopened_port}: the command must stay in"
            " the foreground and bind $SAGEMAKER_BIND_TO_PORT (also $PORT)"
        )
    when = "while it served" if evidence.was_ready else "before it was ready"
    return RootCause.UNKNOWN, f"It ended {when} without saying why: see the log's last lines"


def _known() -> set[int]:
    return {int(number) for number in signal.Signals}
