"""AWS Signature Version 4 in the Authorization header: parse it, and derive what it must be.

The rules are AWS's own ("Create a signed AWS API request" in the IAM user guide). In short::

    canonical request = method, path, query, signed headers, their names, payload hash
    string to sign    = "AWS4-HMAC-SHA256", date, scope, SHA-256 of the canonical request
    signing key       = HMAC chain of secret, day, region, service, "aws4_request"
    signature         = HMAC(signing key, string to sign), in hex

Everything here is pure: no clock, and no key store.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from msgspec import Struct

from coldspark.http.auth.refusals import RefusalReason, refuse

if TYPE_CHECKING:
    from _hashlib import HASH

ALGORITHM = "AWS4-HMAC-SHA256"
_TERMINATOR = "aws4_request"
_SIGNING_KEYS_MAX = 1_024
_KEPT_MAX = 1_024
_KEPT_CHARS_MAX = 512
_STAMP_CHARS = 16
_PROOF = ", Signature="
_BLOCK_BYTES = 64
"""Of SHA-256."""
_PARTS = ("Credential", "SignedHeaders", "Signature")
_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", re.ASCII)
_UNRESERVED = "-_.~"
_PLAIN_PATH = re.compile(r"/(?:[A-Za-z0-9_~-]+/)*[A-Za-z0-9_~-]*", re.ASCII)
"""A path that encoding and normalisation leave as it is: nearly every one that is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningScope:
    """What a signing key is good for: one day, one region, one service."""

    day: str
    region: str
    service: str
    text: str = field(init=False)
    """As it stands in a credential."""

    def __post_init__(self) -> None:
        text = f"{self.day}/{self.region}/{self.service}/{_TERMINATOR}"
        object.__setattr__(self, "text", text)


class SignatureClaim(Struct, frozen=True, kw_only=True, gc=False):
    """What an Authorization header says: who signed, which headers, and the signature."""

    key_id: str
    scope: SigningScope
    signed_headers: tuple[str, ...]
    signature: str


def parse_claim(authorization: str) -> SignatureClaim:
    """Take an ``AWS4-HMAC-SHA256 …`` header apart. Raises AuthRefused (incomplete)."""
    signer, found, proof = authorization.rpartition(_PROOF)
    if found and len(signer) <= _KEPT_CHARS_MAX and proof.isalnum():
        # A client signs all day with one credential and the same headers: only the proof changes.
        key_id, scope, signed_headers = _kept_signer(signer)
        return SignatureClaim(
            key_id=key_id, scope=scope, signed_headers=signed_headers, signature=proof
        )
    return _parsed_claim(authorization)


def _parsed_claim(authorization: str) -> SignatureClaim:
    parts: dict[str, str] = {}
    for piece in authorization[len(ALGORITHM) :].split(","):
        name, _, value = piece.strip().partition("=")
        parts[name] = value
    missing = [name for name in _PARTS if not parts.get(name)]
    if missing:
        words = " ".join(f"Authorization header requires '{name}' parameter." for name in missing)
        refuse(RefusalReason.INCOMPLETE, words)
    key_id, scope = _parse_credential(parts["Credential"])
    signed_headers = tuple(parts["SignedHeaders"].split(";"))
    return SignatureClaim(
        key_id=key_id, scope=scope, signed_headers=signed_headers, signature=parts["Signature"]
    )


@lru_cache(maxsize=_KEPT_MAX)
def _kept_signer(signer: str) -> tuple[str, SigningScope, tuple[str, ...]]:
    """Return what stands before the proof: who signs, for what, and which headers."""
    claim = _parsed_claim(f"{signer}{_PROOF}?")
    return claim.key_id, claim.scope, claim.signed_headers


def _parse_credential(credential: str) -> tuple[str, SigningScope]:
    """Split ``key/day/region/service/aws4_request``; a key id may itself contain slashes."""
    fields = credential.rsplit("/", 4)
    if len(fields) != 5 or not all(fields):
        refuse(
            RefusalReason.INCOMPLETE,
            "Credential must have exactly 5 slash-delimited elements, "
            f"e.g. keyid/date/region/service/term, got '{credential[:200]}'",
        )
    key_id, day, region, service, terminator = fields
    if terminator != _TERMINATOR:
        refuse(
            RefusalReason.MISMATCHED,
            f"Credential should be scoped with a valid terminator: '{_TERMINATOR}', "
            f"not '{terminator[:100]}'.",
        )
    return key_id, SigningScope(day=day, region=region, service=service)


def stamp_ms(stamp: str) -> int | None:
    """Return the milliseconds since the epoch of an ``X-Amz-Date``, or None if it is malformed."""
    return _parsed_stamp(stamp) if len(stamp) == _STAMP_CHARS else None


@lru_cache(maxsize=_KEPT_MAX)
def _parsed_stamp(stamp: str) -> int | None:
    match = _STAMP.fullmatch(stamp)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) * 1_000


def signing_key(secret: str, scope: SigningScope) -> bytes:
    """Derive the day's key. Four HMACs, so it is kept; a new secret is a new entry."""
    return _derived_key(secret, scope.day, scope.region, scope.service)


@lru_cache(maxsize=_SIGNING_KEYS_MAX)
def _derived_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, _TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@lru_cache(maxsize=_SIGNING_KEYS_MAX)
def _keyed(secret: str, day: str, region: str, service: str) -> "tuple[HASH, HASH]":
    """Return the hashes of an HMAC (RFC 2104) that have taken the day's key: the greater part."""
    key = _derived_key(secret, day, region, service).ljust(_BLOCK_BYTES, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in key)), sha256(bytes(byte ^ 0x5C for byte in key))


def _proof(secret: str, scope: SigningScope, to_sign: bytes) -> str:
    begun_inner, begun_outer = _keyed(secret, scope.day, scope.region, scope.service)
    inner, outer = begun_inner.copy(), begun_outer.copy()
    inner.update(to_sign)
    outer.update(inner.digest())
    return outer.hexdigest()


def canonical_path(raw_path: str, service: str) -> str:
    """Encode the path as sent once more, its dots and double slashes resolved; S3 takes it raw."""
    if service == "s3":
        return raw_path or "/"
    if _PLAIN_PATH.fullmatch(raw_path):
        return raw_path
    return quote(_without_dots(raw_path), safe="/~", encoding="latin-1")


def _without_dots(path: str) -> str:
    """Resolve ``.``, ``..`` and empty segments (RFC 3986 §5.2.4, and AWS's double slashes)."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    if not kept:
        return "/"
    return "/" + "/".join(kept) + ("/" if path.endswith("/") else "")


def canonical_query(raw_query: str) -> str:
    """Decode each name and value, encode it AWS's way, and sort the pairs."""
    if not raw_query:
        return ""
    pairs: list[tuple[str, str]] = []
    for piece in raw_query.split("&"):
        name, _, value = piece.partition("=")
        pairs.append((_reencoded(name), _reencoded(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _reencoded(text: str) -> str:
    return quote(unquote_to_bytes(text), safe=_UNRESERVED)


def signature(
    claim: SignatureClaim,
    secret: str,
    *,
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Mapping[str, str],
    payload_hash: str,
) -> str:
    """Return the signature that this request must carry. ``headers`` has lower-case names."""
    scope, names = claim.scope, claim.signed_headers
    is_short = len(raw_path) + len(raw_query) <= _KEPT_CHARS_MAX
    target = (_kept_target if is_short else _target)(raw_path, raw_query, scope.service)
    values = "".join([f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in names])
    text = f"{method}\n{target}\n{values}\n{';'.join(names)}\n{payload_hash}"
    # HTTP headers are bytes; the gateway reads them as Latin-1, so this gives the bytes back.
    canonical = sha256(text.encode("latin-1", "replace")).hexdigest()
    to_sign = f"{ALGORITHM}\n{headers['x-amz-date']}\n{scope.text}\n{canonical}"
    return _proof(secret, scope, to_sign.encode())


def _target(raw_path: str, raw_query: str, service: str) -> str:
    return f"{canonical_path(raw_path, service)}\n{canonical_query(raw_query)}"


_kept_target = lru_cache(maxsize=_KEPT_MAX)(_target)
