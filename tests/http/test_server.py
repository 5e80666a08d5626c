"""Listening: on which addresses, on taken ports, and what ends with it."""

import asyncio
import socket

import pytest
from gateway_fakes import FakePlatform
from wires import context, gateway, run

from coldspark.errors import Conflict, InvalidRequest
from coldspark.http.server import Listening, refuse_open_bind, serve


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_this_machine_s_own_addresses_need_no_key(host: str) -> None:
    """Nobody else can call there."""
    refuse_open_bind(host, has_keys=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gpu-box.example"])
def test_other_addresses_are_refused_without_a_key(host: str) -> None:
    """The message says what to do."""
    with pytest.raises(InvalidRequest, match="coldspark keys create"):
        refuse_open_bind(host, has_keys=False)
    refuse_open_bind(host, has_keys=True)


def test_a_taken_port_is_told() -> None:
    """By number, and not as a trace."""

    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(Conflict, match=f"port {port} on 127.0.0.1 is taken"):
                async with serve(context(FakePlatform()), "127.0.0.1", port):
                    pass

    run(main())


def test_an_address_of_another_machine_is_told() -> None:
    """Also a name that does not resolve."""

    async def main() -> None:
        for host in ("192.0.2.1", "no-such-host.invalid"):
            with pytest.raises(InvalidRequest, match=f"cannot listen on {host}"):
                async with serve(context(FakePlatform()), host, 0):
                    pass

    run(main())


def test_what_fails_inside_comes_out_as_it_is() -> None:
    """The task group behind the server is nobody's business."""

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with serve(context(FakePlatform()), "127.0.0.1", 0):
                raise ZeroDivisionError

    run(main())


def test_a_cancelled_server_closes() -> None:
    """Cancellation goes through, connections do not stay."""

    async def main() -> None:
        listening = asyncio.Event()
        made = context(FakePlatform())

        async def serving() -> None:
            async with gateway(made) as wired:
                await wired.connect()
                listening.set()
                await asyncio.Event().wait()

        task = asyncio.ensure_future(serving())
        await listening.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not made.connections

    run(main())


def test_urls_of_ipv6_have_brackets() -> None:
    """RFC 3986."""
    assert Listening("::1", 80).url == "http://[::1]:80"
    assert Listening("127.0.0.1", 80).url == "http://127.0.0.1:80"
