"""Heads of calls and replies: what is kept of them means what JSON says."""

import json

from hypothesis import given
from hypothesis import strategies as st

from coldspark.node.transport.frame_headers import CallHeaderEncoder as Written
from coldspark.node.transport.frame_headers import decode_reply
from coldspark.node.worker.header_cache import CallHeaderDecoder, ReplyHeaderEncoder
from coldspark.platform.ports import Invocation
from coldspark.spec.types import EndpointName, RequestId

TEXT = st.text(max_size=8) | st.just(',"request":"x","more":1}')
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=3)
INVOCATIONS = st.builds(
    Invocation,
    endpoint=st.just(EndpointName("e")),
    path=st.none() | TEXT,
    content_type=st.none() | TEXT,
    accept=st.none() | TEXT,
    headers=PAIRS.map(tuple),
    started_s=st.just(0.0),
    request=st.builds(RequestId, TEXT | st.uuids().map(str)),
)


@given(calls=st.lists(st.tuples(INVOCATIONS, st.integers(0, 2**40)), max_size=5))
def test_a_call_is_read_as_the_router_meant_it(calls: list[tuple[Invocation, int]]) -> None:
    """Every field, whatever came before and whatever stands in it."""
    written, read = Written(), CallHeaderDecoder()
    for invocation, more in calls + calls:
        head = written.call(invocation, more)
        assert read.read(head) == json.loads(head)
        assert read.read(head) == {
            "path": invocation.path,
            "method": "POST",
            "content_type": invocation.content_type,
            "accept": invocation.accept,
            "headers": [list(pair) for pair in invocation.headers],
            "request": invocation.request,
            "more": more,
        }


def test_a_head_in_another_order_is_read_too() -> None:
    """The format says which fields there are, not where."""
    head = {"more": 9, "request": "r", "headers": [], "path": "/x"}
    assert CallHeaderDecoder().read(json.dumps(head).encode()) == head


@given(replies=st.lists(st.tuples(st.integers(100, 599), PAIRS, st.integers(0, 10**9))))
def test_a_reply_is_read_as_the_worker_meant_it(
    replies: list[tuple[int, list[tuple[str, str]], int]],
) -> None:
    """Status, headers and the handler's time are this reply's."""
    heads = ReplyHeaderEncoder()
    for status, headers, handler_us in replies + replies:
        reply = decode_reply(heads.write(status, headers, handler_us))
        assert (reply.status, reply.headers, reply.handler_us) == (status, headers, handler_us)
