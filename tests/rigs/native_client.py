"""A client of a running gateway with everything behind it."""

from collections.abc import Awaitable, Callable

import httpx
from fake_services import Rig
from wires import gateway, run

Body = Callable[[httpx.AsyncClient], Awaitable[None]]
CHURN = {"handler": "inference.py", "gpu": "A10G", "scale": {"max": 4}}


def served(rig: Rig, body: Body, key: str | None = None) -> None:
    """Run ``body`` with a client of a running gateway."""

    async def main() -> None:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        async with (
            gateway(rig.context()) as wired,
            httpx.AsyncClient(base_url=wired.url, headers=headers) as client,
        ):
            await body(client)

    run(main())
