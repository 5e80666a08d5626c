"""What routers of an earlier run left: processes, and lines in their journals."""

import asyncio
import logging

from coldspark.runtime.routers.process import known_routers, reap
from coldspark.store.directory import DataDirectory
from coldspark.store.ledger import LedgerKeeper

_log = logging.getLogger(__name__)


async def clean_up_routers(directory: DataDirectory, ledger: LedgerKeeper, cgroup: str) -> None:
    """End and take over what routers left, however many there are now.

    Call it before anything is started, and before the books of earlier runs are closed.
    """
    for router in known_routers(directory.routers):
        killed = await asyncio.to_thread(reap, directory.instance_id, router, cgroup)
        if killed:
            _log.info("router %d: %d process(es) of an earlier run ended", router, killed)
        journal = directory.routers / str(router) / "journal"
        await ledger.take_over_part(journal, directory.boot - 1)
