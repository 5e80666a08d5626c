"""POST to somebody's URL: to no private address unless allowed, signed, and in bounded time.

The address is looked up once, checked, and then connected to by number, so that a name cannot
point elsewhere between the check and the call. Redirects are not followed: where one leads was
not checked.

A receiver knows what comes from this server by the header

    X-Coldspark-Signature: t=<seconds since the epoch>,v1=<hex of HMAC-SHA256>

The HMAC is over ``<t>.`` and the body, with the installation's signing secret, which the owner of
its data directory can read.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

import httptools

from coldspark import __version__
from coldspark.errors import InvalidRequest

SIGNATURE = "X-Coldspark-Signature"
_PURPOSE = b"coldspark webhooks v1"
_ANSWER_BYTES_MAX = 64 * 1024
_CONNECT_S = 5.0
_ANSWER_S = 10.0
_ADDRESSES_MAX = 4


class WebhookNotDelivered(Exception):
    """The receiver did not take it; a later try may go better."""


def signing_secret(master_key: bytes) -> str:
    """Return the secret that an installation signs with, made of its master key."""
    return "whsec_" + hmac.new(master_key, _PURPOSE, hashlib.sha256).hexdigest()


def signature(secret: str, at_s: int, body: bytes) -> str:
    """Return the header's value."""
    signed = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256)
    return f"t={at_s},v1={signed.hexdigest()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPolicy:
    """Which addresses may be called.

    A server that only this machine can call may call this machine: whoever can ask it to could
    make the call without it. One that others can call would be their way past a firewall.
    """

    allows_private: bool = False
    allows_loopback: bool = False

    def refusal(self, address: str) -> str | None:
        """Say why an address may not be called, or None."""
        found = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        if self.allows_private or (found.is_global and not found.is_multicast):
            return None
        if found.is_loopback and self.allows_loopback:
            return None
        return f"{address} is not a public address; [server.webhooks] allow_private allows it"


@dataclass(frozen=True, slots=True)
class _Target:
    host: str
    port: int
    path: str
    is_tls: bool
    authority: str


def check_url(url: str, policy: AddressPolicy) -> None:
    """Refuse a URL that can never be called. Raises InvalidRequest."""
    target = _target(url)
    try:
        refusal = policy.refusal(target.host)
    except ValueError:
        # A name: it is looked up when it is called.
        return
    if refusal is not None:
        raise InvalidRequest(f"{url} cannot be notified: {refusal}")


async def post(
    url: str, headers: tuple[tuple[str, str], ...], body: bytes, policy: AddressPolicy
) -> int:
    """Return the status that the receiver answers.

    Raises WebhookNotDelivered and InvalidRequest.
    """
    target = _target(url)
    try:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await _connected(target, policy)
    except (OSError, TimeoutError) as error:
        raise WebhookNotDelivered(
            f"{target.authority} cannot be reached: {error or 'time out'}"
        ) from None
    try:
        async with asyncio.timeout(_ANSWER_S):
            writer.write(_head(target, headers, len(body)) + body)
            await writer.drain()
            return await _status(reader)
    except (OSError, TimeoutError, httptools.HttpParserError) as error:
        raise WebhookNotDelivered(
            f"{target.authority} did not answer: {error or 'time out'}"
        ) from None
    finally:
        writer.close()


def _target(url: str) -> _Target:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidRequest(f"{url[:200]!r} is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise InvalidRequest(f"{url[:200]!r} must be an http:// or https:// URL without a password")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if any(not "!" <= letter <= "~" for letter in path + parts.netloc):
        raise InvalidRequest(f"{url[:200]!r} must be percent-encoded ASCII")
    is_tls = parts.scheme == "https"
    port = port or (443 if is_tls else 80)
    return _Target(parts.hostname, port, path, is_tls, parts.netloc)


async def _connected(
    target: _Target, policy: AddressPolicy
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found][:_ADDRESSES_MAX]
    refused = [refusal for address in addresses if (refusal := policy.refusal(address)) is not None]
    if refused:
        raise WebhookNotDelivered(f"{target.authority}: {refused[0]}")
    context = ssl.create_default_context() if target.is_tls else None
    name = target.host if target.is_tls else None
    error: OSError = OSError("it has no address")
    for address in addresses:
        try:
            return await asyncio.open_connection(
                address, target.port, ssl=context, server_hostname=name, limit=_ANSWER_BYTES_MAX
            )
        except OSError as failed:
            error = failed
    raise error


def _head(target: _Target, headers: tuple[tuple[str, str], ...], size_bytes: int) -> bytes:
    own = (
        ("Host", target.authority),
        ("User-Agent", f"coldspark/{__version__}"),
        ("Content-Length", str(size_bytes)),
        ("Connection", "close"),
    )
    lines = "".join(f"{name}: {_line(value)}\r\n" for name, value in (*own, *headers))
    return f"POST {target.path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1", "replace")


def _line(value: str) -> str:
    return value.replace("\r", " ").replace("\n", " ")


class _Head:
    def __init__(self) -> None:
        self.is_here = False

    def on_headers_complete(self) -> None:
        """The status is known."""
        self.is_here = True


async def _status(reader: asyncio.StreamReader) -> int:
    head = _Head()
    parser = httptools.HttpResponseParser(head)
    size = 0
    while not head.is_here or parser.get_status_code() < 200:
        data = await reader.read(16 * 1024)
        size += len(data)
        if not data or size > _ANSWER_BYTES_MAX:
            raise OSError("it hung up, or sent a head without end")
        head.is_here = False
        parser.feed_data(data)
    return int(parser.get_status_code())
