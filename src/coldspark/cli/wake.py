"""Wake an endpoint and show what its start does: environment, process, model."""

import threading
from typing import TYPE_CHECKING

from coldspark.cli import output
from coldspark.errors import ColdsparkError

if TYPE_CHECKING:
    from coldspark.sdk.client import Client, Json

_POLL_S = 0.5
_LINES = 20
_PING_PATH = "/ping"
# A command's status for a path that it does not have: it was awake to answer.
_AWAKE = ("HandlerFailed", "UnsupportedMedia", "InvalidRequest")


def wake(connection: "Client", name: str, ping_path: str | None) -> None:
    """Start a replica and wait until it answers; print the platform's remarks meanwhile.

    ``ping_path`` is a command's; a handler's process answers a ping without the handler. Raises
    what the start did.
    """
    failures: list[ColdsparkError] = []
    printed_ms = max((int(line["at_ms"]) for line in _remarks(connection, name)), default=0)
    thread = threading.Thread(
        target=_call, args=(connection, name, ping_path, failures), daemon=True
    )
    output.note(f"waking {name}")
    thread.start()
    while thread.is_alive():
        thread.join(_POLL_S)
        printed_ms = _print_remarks(connection, name, printed_ms)
    if failures:
        raise failures[0]


def _call(
    connection: "Client", name: str, ping_path: str | None, failures: list[ColdsparkError]
) -> None:
    try:
        answer = connection.call(name, "GET", ping_path or _PING_PATH)
        answer.content  # noqa: B018, read to the end so that its times are known
        output.note(f"awake: {_timing(answer.stages_ms, answer.is_cold, answer.cost_dollars)}")
    except ColdsparkError as error:
        if error.code in _AWAKE:
            output.note("awake")
        else:
            failures.append(error)


def _timing(stages_ms: dict[str, float], is_cold: bool, cost: str | None) -> str:
    return output.summary(stages_ms, is_cold=is_cold, cost=cost)


def _print_remarks(connection: "Client", name: str, printed_ms: int) -> int:
    """Print the platform's own log lines that are newer than the last one shown."""
    fresh = [line for line in _remarks(connection, name) if line["at_ms"] > printed_ms]
    for line in fresh:
        output.note(f"  {line['text']}")
    return max([printed_ms, *(int(line["at_ms"]) for line in fresh)])


def _remarks(connection: "Client", name: str) -> "list[Json]":
    """Return the platform's own newest log lines; none where they cannot be had."""
    try:
        lines = connection.logs(name, _LINES)
    except ColdsparkError:
        return []
    return [line for line in lines if line["stream"] == "coldspark"]
