"""Wake an endpoint and show what its start does: environment, process, model."""

import threading
from typing import TYPE_CHECKING

from coldspark.cli import render
from coldspark.errors import ColdsparkError

if TYPE_CHECKING:
    from coldspark.sdk.client import Client

_POLL_S = 0.5
# What a handler says of the empty body that wakes it. It was awake to say so.
_AWAKE = ("HandlerFailed", "UnsupportedMedia", "InvalidRequest")


def wake(connection: "Client", name: str, ping_path: str | None) -> None:
    """Start a replica and wait until it answers; print the platform's remarks meanwhile.

    ``ping_path`` is a command's; a handler is woken by an empty call. Raises what the start did.
    """
    failures: list[ColdsparkError] = []
    thread = threading.Thread(
        target=_call, args=(connection, name, ping_path, failures), daemon=True
    )
    render.note(f"waking {name}")
    thread.start()
    seen = 0
    while thread.is_alive():
        thread.join(_POLL_S)
        seen = _show_remarks(connection, name, seen)
    if failures:
        raise failures[0]


def _call(
    connection: "Client", name: str, ping_path: str | None, failures: list[ColdsparkError]
) -> None:
    try:
        if ping_path is None:
            answer = connection.invoke(name)
        else:
            answer = connection.call(name, "GET", ping_path)
        answer.content  # noqa: B018, read to the end so that its times are known
        render.note(f"awake: {_timing(answer.stages_ms, answer.is_cold, answer.cost_dollars)}")
    except ColdsparkError as error:
        if error.code in _AWAKE:
            render.note("awake")
        else:
            failures.append(error)


def _timing(stages_ms: dict[str, float], is_cold: bool, cost: str | None) -> str:
    return render.summary(stages_ms, is_cold=is_cold, cost=cost)


def _show_remarks(connection: "Client", name: str, seen_ms: int) -> int:
    """Print the platform's own log lines that are newer than the last one shown."""
    try:
        lines = connection.logs(name, 20)
    except ColdsparkError:
        return seen_ms
    for line in lines:
        if line["at_ms"] > seen_ms and line["stream"] == "coldspark":
            render.note(f"  {line['text']}")
    return max([seen_ms, *(int(line["at_ms"]) for line in lines)])
