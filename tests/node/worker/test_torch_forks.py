"""Templates of torch programs: what can be forked is, what would hang is found out.

Runs where the interpreter of the templates has torch (see ``worker_rig``).
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from worker_rig import INTERPRETER, Rig

_FIND = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)"
_HAS_TORCH = subprocess.run([INTERPRETER, "-c", _FIND]).returncode == 0

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not _HAS_TORCH, reason="the templates' interpreter has no torch"),
]

Write = Callable[[str], Path]


def test_open_thread_pool_does_not_hang_the_forks(rig: Rig, write: Write) -> None:
    """The pool is put to rest before the fork, and each child opens its own."""
    prepared = rig.prepare(
        write(
            """
            import torch
            torch.ones(1 << 20).clone().exp()

            def predict_fn(data, model):
                total = float(torch.ones(1 << 20).clone().sum())
                return [torch.get_num_threads(), float(torch.rand(1)), total]
            """
        )
    )
    assert prepared["fork_safe"], prepared["reason"]
    one = rig.fork("r1", environment={"OMP_NUM_THREADS": "2"}).ready().answer(1)
    two = rig.fork("r2", environment={"OMP_NUM_THREADS": "1"}).ready().answer(1)
    assert (one[0], two[0]) == (2, 1)
    assert one[1] != two[1]
    assert one[2] == two[2] == 1 << 20


def test_pool_between_operations_rules_out_a_fork(rig: Rig, write: Write) -> None:
    """No child can use that pool once it was used; replicas start afresh, and do."""
    prepared = rig.prepare(
        write(
            '''
            import torch
            unit = torch.jit.CompilationUnit("""
            def add(x):
                return x + 1

            def both(x):
                return torch.jit.wait(torch.jit.fork(add, x))
            """)
            unit.both(torch.ones(1))

            def predict_fn(data, model):
                return float(unit.both(torch.ones(3)).sum())
            '''
        )
    )
    assert prepared["fork_safe"] is False
    assert "hung" in prepared["reason"]
    assert rig.fork().ready().answer(1) == 6.0
