"""A connection goes through a mailbox with what was read from it, however long that is."""

import socket
from contextlib import closing

import pytest

from coldspark.cluster.fd_channel import (
    FdChannel,
    receive_connection,
    reject_pending,
    send_connection,
)


@pytest.mark.parametrize("size", [0, 100, 32 * 1024, 32 * 1024 + 1, 5_000_000])
def test_a_connection_arrives_with_all_that_was_read(size: int) -> None:
    """The receiver speaks to the caller; the sender's own descriptor may be closed."""
    caller, accepted = socket.socketpair()
    with closing(FdChannel()) as mailbox, caller:
        data = bytes(range(256)) * (size // 256 + 1)
        with accepted:
            assert send_connection(mailbox.write_end, accepted.fileno(), data[:size])
        letter = receive_connection(mailbox.read_end)
        assert letter is not None
        connection, read = letter
        with connection:
            assert read == data[:size]
            connection.send(b"hello")
            assert caller.recv(10) == b"hello"
        assert caller.recv(10) == b""
        assert receive_connection(mailbox.read_end) is None


def test_a_full_channel_refuses_and_what_lies_in_it_can_be_turned_away() -> None:
    """Nobody waits for a router that does not come back."""
    caller, accepted = socket.socketpair()
    with closing(FdChannel()) as mailbox, caller:
        with accepted:
            posted = 0
            while send_connection(mailbox.write_end, accepted.fileno(), b"x" * 30_000):
                posted += 1
                assert posted < 10_000
        assert posted > 0
        reject_pending(mailbox.read_end)
        assert caller.recv(100).startswith(b"HTTP/1.1 503 ")
        assert receive_connection(mailbox.read_end) is None
