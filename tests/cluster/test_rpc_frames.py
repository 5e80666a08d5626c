"""Messages between routers survive any cutting of the stream; what is none is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.cluster.frames import FRAME_BYTES_MAX, BadFrame, FrameBuffer, encode_frame
from coldspark.cluster.messages import (
    Evict,
    Message,
    Ready,
    ReservationGrant,
    ReservationRequest,
    RpcRequest,
    Settle,
    Shares,
    Welcome,
)
from coldspark.config import ServerConfig
from coldspark.spec.messages import Device, NodeJoined, Reservation, ReservationRequested
from coldspark.spec.types import DeviceId, FleetId, GpuRequest, NodeId, ReplicaId, Resources

DEVICE = Device(id=DeviceId("gpu0"), type="T4", memory_bytes=16 * 10**9, is_simulated=True)
NODE = NodeJoined(node=NodeId("local"), memory_bytes=10**10, vcpus=2.0, devices=(DEVICE,))
GRANT = Reservation(replica=ReplicaId("e-1x1.1"), node=NODE.node, devices=(DEVICE,), fraction=0.5)
RESOURCES = replace(Resources(), gpus=(GpuRequest(type="T4"),))
WELCOME = Welcome(
    router=1,
    config=ServerConfig(data=Path("/srv/data"), routers=2),
    node=NODE,
    boot=7,
    instance="abc.r1",
    cgroup="0::/",
    listeners=[5],
    write_ends=[6, 7],
    read_end=8,
)
MESSAGES: list[Message] = [
    WELCOME,
    Ready(),
    ReservationRequest(
        3, ReservationRequested(replica=GRANT.replica, fleet=FleetId("e/main"), resources=RESOURCES)
    ),
    ReservationGrant(3, GRANT),
    Evict(GRANT.replica, "somebody needs it"),
    Shares(500_000),
    RpcRequest(1, Settle()),
]


@given(
    picks=st.lists(st.integers(0, len(MESSAGES) - 1), max_size=8),
    cuts=st.lists(st.integers(1, 200), min_size=1, max_size=50),
)
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(
    picks: list[int], cuts: list[int]
) -> None:
    """Also several at once, and one byte at a time."""
    stream = b"".join(encode_frame(MESSAGES[pick]) for pick in picks)
    frames, found, at, turn = FrameBuffer(), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        found += frames.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert found == [MESSAGES[pick] for pick in picks]


@given(noise=st.binary(min_size=8, max_size=64))
def test_noise_is_waited_for_or_refused_and_never_taken(noise: bytes) -> None:
    """A link that breaks is cut: nothing is guessed."""
    try:
        assert FrameBuffer().feed(noise) == []
    except BadFrame:
        pass


def test_a_frame_that_says_it_is_too_long_is_refused_before_it_is_read() -> None:
    """Memory is bounded whatever comes."""
    with pytest.raises(BadFrame, match="at most"):
        FrameBuffer().feed((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
