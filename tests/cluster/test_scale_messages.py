"""A bound on its way to the router that owns the endpoint, and the view on its way back."""

import msgspec

from coldspark.cluster.messages import Message, RpcRequest, SetScale, encode, to_hook
from coldspark.platform.ports import ScaleBoundsView, ScaleTransitionView
from coldspark.spec.types import EndpointName, VariantName


def test_bounds_and_a_replicas_min_read_back_as_they_were() -> None:
    """None stays None: it means the policy's own."""
    bound = SetScale(EndpointName("chat"), VariantName("main"), 2, None, "scalable target")
    asked = RpcRequest(7, bound)
    assert msgspec.msgpack.decode(encode(asked), type=Message, dec_hook=to_hook) == asked
    floor = ScaleBoundsView(
        min=2, max=4, reason="r", next=ScaleTransitionView(at_ms=1, min=0, max=4)
    )
    assert msgspec.msgpack.decode(encode(floor), type=ScaleBoundsView) == floor
