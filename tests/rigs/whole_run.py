"""What all processes of one run of the suite have done so far, for the test that judges the whole.

pytest-xdist spreads the tests over processes. Each leaves, in the folder of the run, how many of
its tests are over and which answers it held against their models.
"""

import json
import sys
import time
from pathlib import Path

import pytest

DEADLINE_S = 300.0
"""How long the last test waits for what other processes still have to do."""
_POLL_S = 0.2

Operation = tuple[str, str]
_over = 0


def count(config: pytest.Config) -> None:
    """Note that one more test of this process is over."""
    global _over
    _over += 1
    if (folder := _folder(config)) is not None:
        name = f"run-of-{config.workerinput['workerid']}.json"  # type: ignore[attr-defined]
        draft = folder / f"{name}.draft"
        draft.write_text(json.dumps({"over": _over, "validated": sorted(_validated())}))
        draft.replace(folder / name)


def validated(config: pytest.Config, others: int) -> set[Operation]:
    """Wait until so many other tests are over; return the operations that they validated."""
    end_s = time.monotonic() + DEADLINE_S
    while True:
        over, found = _read(config)
        if over >= others:
            return found
        if time.monotonic() > end_s:
            raise TimeoutError(f"{over} of {others} other tests were over after {DEADLINE_S:g} s")
        time.sleep(_POLL_S)


def _read(config: pytest.Config) -> tuple[int, set[Operation]]:
    folder = _folder(config)
    if folder is None:
        return _over, _validated()
    over, found = 0, set[Operation]()
    for file in folder.glob("run-of-*.json"):
        told = json.loads(file.read_text())
        over += told["over"]
        found |= {(service, operation) for service, operation in told["validated"]}
    return over, found


def _validated() -> set[Operation]:
    model = sys.modules.get("service_model")
    return model.VALIDATED if model else set()


def _folder(config: pytest.Config) -> Path | None:
    """Return what the processes of this run share; None if this is the only one."""
    is_worker = hasattr(config, "workerinput")
    return Path(config.option.basetemp).parent if is_worker else None
