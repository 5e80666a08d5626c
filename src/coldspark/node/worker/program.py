"""Import the user's program, and put what breaks in words: cause, message, traceback.

The causes are the values of the core's ``RootCause``.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

MODEL_FILE_MISSING = "model file missing"
OUT_OF_MEMORY = "out of memory"
IMPORT_ERROR = "import error"
HANDLER_INVALID = "handler invalid"
UNKNOWN = "unknown"

MESSAGE_CHARS_MAX = 2_000
TRACEBACK_BYTES_MAX = 8 * 1024

_PACKAGE = os.path.dirname(os.path.abspath(__file__))


class HandlerInvalid(Exception):
    """The program does not define what a handler needs; the message names what is missing."""


@dataclass(frozen=True)
class ProgramFailure:
    """Why a program cannot be loaded."""

    cause: str
    message: str
    traceback: str


def load(path: str, paths: Sequence[str]) -> ModuleType:
    """Import the file once, with ``paths`` first on sys.path. Raises whatever it raises."""
    sys.path[:0] = paths
    sys.argv = [path]
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HandlerInvalid(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _module_name(path: str) -> str:
    """Return the file's own name, unless a module of that name is in use (``json.py``)."""
    stem = os.path.splitext(os.path.basename(path))[0]
    taken = stem in sys.modules or stem in getattr(sys, "stdlib_module_names", ())
    return f"coldspark_program_{stem}" if taken else stem


def explain(error: BaseException) -> ProgramFailure:
    """Say in words why loading failed."""
    return ProgramFailure(_cause(error), message(error), user_traceback(error))


def _cause(error: BaseException) -> str:
    if isinstance(error, HandlerInvalid):
        return HANDLER_INVALID
    if isinstance(error, (ImportError, SyntaxError)):
        return IMPORT_ERROR
    # torch's own error for a full GPU has this name, in every version and module it lived in.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return OUT_OF_MEMORY
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENOTDIR):
        return MODEL_FILE_MISSING
    if isinstance(error, FileNotFoundError):
        return MODEL_FILE_MISSING
    return UNKNOWN


def message(error: BaseException) -> str:
    """Return ``ValueError: …``, bounded; sys.exit is named for what it is."""
    if isinstance(error, SystemExit):
        return f"SystemExit: the program called sys.exit({error.code!r})"[:MESSAGE_CHARS_MAX]
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  a user's __str__ may raise anything
        text = "(its message could not be read)"
    return (f"{name}: {text}" if text else name)[:MESSAGE_CHARS_MAX]


def user_traceback(error: BaseException) -> str:
    """Return the traceback without the frames of this package and of the import machinery."""
    summary = traceback.TracebackException.from_exception(error)
    _strip(summary, depth=8)
    text = "".join(summary.format()).encode(errors="replace")
    return text[-TRACEBACK_BYTES_MAX:].decode(errors="replace")


def _strip(summary: traceback.TracebackException | None, depth: int) -> None:
    if summary is None or depth == 0:
        return
    frames = [frame for frame in summary.stack if _is_user_frame(frame.filename)]
    summary.stack = traceback.StackSummary.from_list(frames)
    _strip(summary.__cause__, depth - 1)
    _strip(summary.__context__, depth - 1)


def _is_user_frame(filename: str) -> bool:
    return not filename.startswith((_PACKAGE + os.sep, "<frozen importlib"))


def flush_output() -> None:
    """Write out what the user's code printed, before anybody is told that it is done.

    A stream that is closed or gone has nothing left to write.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue


def print_error(text: str) -> None:
    """Print to standard error, which is the replica's log; the user's code may have closed it."""
    try:
        sys.stderr.write(text)
    except (OSError, ValueError, AttributeError):
        pass
