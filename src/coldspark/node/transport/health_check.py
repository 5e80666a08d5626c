"""Ask a replica's HTTP server whether it is up, until it says 200; tell it of the frost."""

import asyncio

_FIRST_DELAY_S = 0.005
_BACKOFF = 1.5
_DELAY_MAX_S = 0.25
_TRY_TIMEOUT_S = 2.0
_STATUS_BYTES_MAX = 1024


async def wait_until_healthy(port: int, ping_path: str) -> None:
    """Return once ``GET ping_path`` has answered 200. The caller cancels it when it gives up.

    Only 200 counts: 204 is the word of servers that are still loading.
    """
    delay_s = _FIRST_DELAY_S
    while True:
        await asyncio.sleep(delay_s)
        if await status(port, ping_path) == 200:
            return
        delay_s = min(delay_s * _BACKOFF, _DELAY_MAX_S)


async def call_hook(port: int, path: str, within_s: float) -> str | None:
    """POST to a path of the server; return None if it answered 200 to 299, else what was wrong."""
    found = await status(port, path, method="POST", within_s=within_s)
    if found is None:
        return f"POST {path} had no HTTP answer (it may take {within_s:g} s)"
    return None if 200 <= found < 300 else f"POST {path} answered {found}"


async def status(
    port: int, path: str, *, method: str = "GET", within_s: float = _TRY_TIMEOUT_S
) -> int | None:
    """Return the status of one request, or None if there is no HTTP answer in time."""
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, limit=_STATUS_BYTES_MAX
            )
            try:
                request = (
                    f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
                    "content-length: 0\r\nconnection: close\r\n\r\n"
                )
                writer.write(request.encode("latin-1", "replace"))
                line = await reader.readline()
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError, ValueError):
        return None
    words = line.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return None
    return int(words[1])
