"""The template and its replicas as real processes: forks, calls, ends."""

import pytest
from worker_rig import Rig

pytestmark = pytest.mark.process


def test_forked_replica_answers_a_call(rig: Rig, write) -> None:
    """Prepare imports once; a fork loads, says ready, and replies."""
    program = write(
        """
        def model_fn(model_dir):
            return model_dir

        def predict_fn(data, model):
            return {"got": data, "model": model}
        """
    )
    prepared = rig.prepare(program)
    assert prepared["fork_safe"], prepared["reason"]
    channel = rig.fork(model_dir="/tmp").ready()
    assert channel.answer(1, b'{"a": 1}') == {"got": {"a": 1}, "model": "/tmp"}
