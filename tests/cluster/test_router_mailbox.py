"""A connection goes through a mailbox with what was read from it, however long that is."""

import socket
from contextlib import closing

import pytest

from coldspark.cluster.fd_channel import Mailbox, post, take, turn_away


@pytest.mark.parametrize("size", [0, 100, 32 * 1024, 32 * 1024 + 1, 5_000_000])
def test_a_connection_arrives_with_all_that_was_read(size: int) -> None:
    """The receiver speaks to the caller; the sender's own descriptor may be closed."""
    caller, accepted = socket.socketpair()
    with closing(Mailbox()) as mailbox, caller:
        data = bytes(range(256)) * (size // 256 + 1)
        with accepted:
            assert post(mailbox.inlet, accepted.fileno(), data[:size])
        letter = take(mailbox.outlet)
        assert letter is not None
        connection, read = letter
        with connection:
            assert read == data[:size]
            connection.send(b"hello")
            assert caller.recv(10) == b"hello"
        assert caller.recv(10) == b""
        assert take(mailbox.outlet) is None


def test_a_full_mailbox_says_so_and_what_lies_in_it_can_be_turned_away() -> None:
    """Nobody waits for a router that does not come back."""
    caller, accepted = socket.socketpair()
    with closing(Mailbox()) as mailbox, caller:
        with accepted:
            posted = 0
            while post(mailbox.inlet, accepted.fileno(), b"x" * 30_000):
                posted += 1
                assert posted < 10_000
        assert posted > 0
        turn_away(mailbox.outlet)
        assert caller.recv(100).startswith(b"HTTP/1.1 503 ")
        assert take(mailbox.outlet) is None
