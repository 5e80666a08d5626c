"""A command that has many models: SageMaker's container API for loading and unloading them.

``POST /models`` with name and directory loads one (409: it is loaded, 507: there is no memory),
``DELETE /models/{name}`` unloads it, ``POST /models/{name}/invoke`` calls it.
"""

import asyncio
import hashlib
import json
from pathlib import Path

_CONNECT_S = 5.0
_BODY_BYTES_MAX = 64 * 1024
_NAME_CHARS = 32

LOADED = (200, 201, 202, 409)
NO_MEMORY = 507


class ModelServerClient:
    """One server's models."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def load(self, target: str, directory: Path) -> tuple[int, str]:
        """Have a model loaded; return the status and what the server said. Raises OSError.

        The one who asks watches the time.
        """
        body = json.dumps({"model_name": name_of(target), "url": str(directory)}).encode()
        return await self._ask("POST", "/models", body)

    async def unload(self, target: str) -> tuple[int, str]:
        """Have a model unloaded; 404 where it was gone already. Raises OSError."""
        return await self._ask("DELETE", f"/models/{name_of(target)}", b"")

    async def _ask(self, method: str, path: str, body: bytes) -> tuple[int, str]:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            head = (
                f"{method} {path} HTTP/1.0\r\nhost: 127.0.0.1:{self._port}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            answer = await reader.read(_BODY_BYTES_MAX)
            while (more := await reader.read(_BODY_BYTES_MAX)) and len(answer) < _BODY_BYTES_MAX:
                answer += more
        finally:
            writer.transport.abort()
        return _read(answer)


def name_of(target: str) -> str:
    """Return what the server calls a model: a target may hold slashes, its name may not."""
    return hashlib.sha256(target.encode()).hexdigest()[:_NAME_CHARS]


def invoke_path(target: str) -> str:
    """Return where a model is called."""
    return f"/models/{name_of(target)}/invoke"


def _read(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise OSError("its server's answer is no HTTP")
    return int(words[1]), body.decode("utf-8", "replace")
