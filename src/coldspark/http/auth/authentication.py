"""Who may come in: keys where keys exist, and no web page's errand where none do yet."""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from coldspark import clock
from coldspark.errors import Forbidden
from coldspark.http.auth.authenticator import Authenticator, HeadCredentials
from coldspark.http.auth.s3_signatures import (
    ObjectCredentials,
    authenticate_object,
    check_expiry,
    declared_hash,
)
from coldspark.http.auth.scopes import KeyAction, authorize
from coldspark.platform.ports import Key
from coldspark.spec.types import EndpointName

_HOSTS_MAX = 64


class Authentication:
    """Finds out who calls and what they may do. One per gateway."""

    def __init__(self, authenticator: Authenticator, *, is_open: bool = False) -> None:
        self._authenticator = authenticator
        self._is_open = is_open
        """Other machines may call without a key, by names that are not known here."""
        self._local_hosts: set[str] = set()

    def identify(
        self,
        method: str,
        raw_path: str,
        raw_query: str,
        headers: Mapping[str, str],
        body: bytes | str,
    ) -> Key | None:
        """Return the caller's key; None where no key exists. Raises Unauthenticated, Forbidden.

        ``headers`` has lower-case names; the values of a repeated one are joined by a comma.
        ``body``: all of it, or its SHA-256 in hex.
        """
        if self._authenticator.is_open():
            self._refuse_web_pages(headers)
            return None
        return self._authenticator.authenticate(
            method, raw_path, raw_query, headers, body, now_ms=clock.wall_ms()
        )

    def identify_by_head(
        self, method: str, raw_path: str, raw_query: str, headers: Mapping[str, str]
    ) -> HeadCredentials | None:
        """Return the caller's key before the body is here; None if only the body proves it.

        Raises as ``identify``.
        """
        if self._authenticator.is_open():
            self._refuse_web_pages(headers)
            return HeadCredentials(None, None)
        return self._authenticator.authenticate_by_head(
            method, raw_path, raw_query, headers, now_ms=clock.wall_ms()
        )

    def identify_object(
        self,
        method: str,
        raw_path: str,
        raw_query: str,
        headers: Mapping[str, str],
        *,
        is_local: bool,
    ) -> ObjectCredentials:
        """Return what a request to object storage proves by its head. Raises as ``identify``."""
        now_ms = clock.wall_ms()
        if self._authenticator.is_open():
            self._refuse_web_pages(headers)
            check_expiry(raw_query, now_ms)
            return ObjectCredentials(key=None, payload_hash=declared_hash(headers))
        return authenticate_object(
            self._authenticator,
            method,
            raw_path,
            raw_query,
            headers,
            is_local=is_local,
            now_ms=now_ms,
        )

    def allow(
        self, key: Key | None, action: KeyAction, endpoint: EndpointName | None = None
    ) -> None:
        """Raise Forbidden unless the key has the scope."""
        if key is not None:
            authorize(key, action, endpoint)

    def _refuse_web_pages(self, headers: Mapping[str, str]) -> None:
        """Refuse a browser sent by somebody's page, while no key guards the server.

        A page may post to 127.0.0.1, or point its own name there (DNS rebinding): the first
        shows in Origin, the second in Host.
        """
        host = headers.get("host", "")
        if host not in self._local_hosts and not self._is_open:
            self._learn(host)
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise Forbidden(
                f"a page of {origin[:100]} may not call this server while it has no keys; "
                "create one with `coldspark keys create`"
            )

    def _learn(self, host: str) -> None:
        if not _is_local_name(urlsplit(f"//{host}").hostname or ""):
            raise Forbidden(
                f"the host {host[:100]!r} is not this machine's own name; while the server has no "
                "keys, call it as localhost or by its address"
            )
        if len(self._local_hosts) < _HOSTS_MAX:
            self._local_hosts.add(host)


def _is_local_name(name: str) -> bool:
    # An HTTP/1.0 caller may send no Host; browsers always do.
    return name in ("", "localhost") or name.endswith(".localhost") or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
