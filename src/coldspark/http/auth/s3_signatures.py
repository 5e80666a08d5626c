"""Who sends a request to object storage: S3 signs headers, URLs and bodies in ways of its own.

Rules:
- The path is signed as it is sent; S3 neither resolves its dots nor encodes it twice.
- ``x-amz-content-sha256`` says what was signed for the body: its hash, nothing
  (``UNSIGNED-PAYLOAD``), or that each chunk carries a signature (``STREAMING-…``).
- A body that nothing vouches for is taken from this machine only, since somebody in between could
  change it, unless the server is told to take it from everybody.
- A presigned URL (version 4, or 2, which some clients still make) is good until it expires, and
  leaves the body to whoever holds it.
"""

import base64
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Never
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from coldspark.http.auth.authenticator import Authenticator, check_date, check_signed_headers
from coldspark.http.auth.refusals import RefusalReason, refuse
from coldspark.http.auth.sigv4 import (
    ALGORITHM,
    SignatureClaim,
    parse_claim,
    signature,
    signing_key,
    stamp_ms,
)
from coldspark.platform.ports import Key

UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_UNVOUCHED = (UNSIGNED, UNSIGNED_TRAILER)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SECONDS = re.compile(r"\d{1,10}", re.ASCII)
_EXPIRES_S_MAX = 7 * 24 * 3_600
_SKEW_MS_MAX = 5 * 60 * 1_000
_EMPTY = sha256(b"").hexdigest()
_V2_WORDS = (
    "acl accelerate cors delete lifecycle location logging notification partNumber policy "
    "replication requestPayment response-cache-control response-content-disposition "
    "response-content-encoding response-content-language response-content-type response-expires "
    "restore tagging torrent uploadId uploads versionId versioning versions website"
)
_V2_SIGNED = frozenset(_V2_WORDS.split())
"""Parameters of the query that belong to what version 2 signs."""


class ChunkSignatures:
    """The signatures of a body's chunks, each made over the one before it."""

    def __init__(self, claim: SignatureClaim, secret: str, stamp: str) -> None:
        self._key = signing_key(secret, claim.scope)
        self._head = f"{stamp}\n{claim.scope.text}"
        self._last = claim.signature

    def check_chunk(self, proof: str, digest: str) -> None:
        """Check the next chunk by its SHA-256. Raises AuthRefused."""
        self._check(proof, f"{ALGORITHM}-PAYLOAD\n{self._head}\n{self._last}\n{_EMPTY}\n{digest}")

    def check_trailer(self, proof: str, trailer: bytes) -> None:
        """Check the trailer's lines. Raises AuthRefused."""
        digest = sha256(trailer).hexdigest()
        self._check(proof, f"{ALGORITHM}-TRAILER\n{self._head}\n{self._last}\n{digest}")

    def _check(self, proof: str, to_sign: str) -> None:
        expected = hmac.digest(self._key, to_sign.encode(), "sha256").hex()
        if not hmac.compare_digest(expected.encode(), proof.encode("latin-1", "replace")):
            refuse(
                RefusalReason.MISMATCHED,
                "The signature of a chunk of the body does not match the one that was calculated.",
            )
        self._last = expected


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCredentials:
    """What a request's head proves, and what its body has still to prove."""

    key: Key | None
    payload_hash: str | None = None
    """The SHA-256 in hex that the body must have."""
    chain: ChunkSignatures | None = None
    """Each chunk must carry the next signature of this chain."""


def headers_with_presigned(headers: Mapping[str, str], raw_query: str) -> dict[str, str]:
    """Return the headers, and those that a presigned URL carries for its holder."""
    given = dict(headers)
    if "Signature=" not in raw_query:
        return given
    for name, value in parse_qsl(raw_query, keep_blank_values=True):
        word = name.lower()
        is_header = word.startswith("x-amz-") or word in ("content-md5", "content-type")
        if is_header and word not in _PRESIGNED and word not in given:
            given[word] = value
    return given


_PRESIGNED = frozenset(
    f"x-amz-{word}"
    for word in ("algorithm", "credential", "date", "expires", "signedheaders", "signature")
) | {"x-amz-content-sha256", "x-amz-security-token"}


def check_expiry(raw_query: str, now_ms: int) -> None:
    """Raise AuthRefused for a presigned URL whose time is over, or has not come."""
    query = dict(parse_qsl(raw_query, keep_blank_values=True))
    if "X-Amz-Signature" in query:
        _check_v4_time(query, now_ms)
    elif "Signature" in query and "AWSAccessKeyId" in query:
        _check_v2_time(query, now_ms)


def authenticate_object(
    authenticator: Authenticator,
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Mapping[str, str],
    *,
    is_local: bool,
    now_ms: int,
) -> ObjectCredentials:
    """Return what a request proves. Raises AuthRefused. ``is_local``: it comes from this machine.

    ``raw_path`` and ``raw_query`` as sent; ``headers`` has lower-case names, as sent.
    """
    authorization = headers.get("authorization", "")
    if authorization.startswith(ALGORITHM):
        return _header(
            authenticator, method, raw_path, raw_query, headers, is_local=is_local, now_ms=now_ms
        )
    if authorization[:7].lower() == "bearer ":
        return ObjectCredentials(
            key=authenticator.key_of(authorization[7:].strip()),
            payload_hash=declared_hash(headers),
        )
    query = dict(parse_qsl(raw_query, keep_blank_values=True))
    if "X-Amz-Signature" in query:
        return _presigned(authenticator, method, raw_path, raw_query, query, headers, now_ms)
    if "Signature" in query and "AWSAccessKeyId" in query:
        return _presigned_v2(authenticator, method, raw_path, query, headers, now_ms)
    return _unproven(authorization)


def _unproven(authorization: str) -> Never:
    if authorization.startswith("AWS "):
        refuse(
            RefusalReason.UNSUPPORTED,
            "Signatures of version 2 in the Authorization header are not taken: sign with version"
            " 4 (AWS4-HMAC-SHA256).",
        )
    refuse(
        RefusalReason.MISSING,
        "Access Denied: sign the request (AWS signature version 4, with a coldspark key), send"
        " 'Authorization: Bearer csk_…', or use a presigned URL.",
    )


def declared_hash(headers: Mapping[str, str]) -> str | None:
    """Return the SHA-256 that the body is said to have."""
    declared = headers.get("x-amz-content-sha256", "")
    return declared if _HASH.fullmatch(declared) else None


def _header(
    authenticator: Authenticator,
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Mapping[str, str],
    *,
    is_local: bool,
    now_ms: int,
) -> ObjectCredentials:
    claim = parse_claim(headers["authorization"])
    check_date(claim, headers, now_ms)
    check_signed_headers(claim, headers)
    key, secret = authenticator.secret_of(claim)
    declared = headers.get("x-amz-content-sha256")
    if declared is None:
        refuse(
            RefusalReason.INCOMPLETE,
            "Missing required header for this request: x-amz-content-sha256.",
        )
    _check_signature(claim, secret, method, raw_path, raw_query, headers, declared)
    if declared in _UNVOUCHED and not (is_local or authenticator.accepts_unsigned_payload):
        refuse(
            RefusalReason.MISMATCHED,
            f"x-amz-content-sha256 is {declared}, so anybody in between could change the body: over"
            " plain HTTP it is taken from this machine only. Sign the payload"
            " (payload_signing_enabled), or put TLS on this machine before the server.",
        )
    if declared in (STREAMED, STREAMED_TRAILER):
        return ObjectCredentials(
            key=key, chain=ChunkSignatures(claim, secret, headers["x-amz-date"])
        )
    if declared in _UNVOUCHED:
        return ObjectCredentials(key=key)
    if not _HASH.fullmatch(declared):
        refuse(
            RefusalReason.UNSUPPORTED,
            f"x-amz-content-sha256 is {declared[:80]!r}: it must be the body's SHA-256 in hex,"
            f" {UNSIGNED}, {STREAMED}, {STREAMED_TRAILER} or {UNSIGNED_TRAILER}.",
        )
    return ObjectCredentials(key=key, payload_hash=declared)


def _presigned(
    authenticator: Authenticator,
    method: str,
    raw_path: str,
    raw_query: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    now_ms: int,
) -> ObjectCredentials:
    names = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders")
    missing = [name for name in (*names, "X-Amz-Expires") if not query.get(name)]
    if missing or query["X-Amz-Algorithm"] != ALGORITHM:
        refuse(
            RefusalReason.INCOMPLETE,
            f"A presigned URL needs {', '.join(missing) or f'X-Amz-Algorithm={ALGORITHM}'}.",
        )
    _check_v4_time(query, now_ms)
    claim = parse_claim(
        f"{ALGORITHM} Credential={query['X-Amz-Credential']}, "
        f"SignedHeaders={query['X-Amz-SignedHeaders']}, Signature={query['X-Amz-Signature']}"
    )
    if claim.scope.day != query["X-Amz-Date"][:8]:
        refuse(RefusalReason.MISMATCHED, "The credential's date is not that of X-Amz-Date.")
    check_signed_headers(claim, headers)
    key, secret = authenticator.secret_of(claim)
    signed = "&".join(
        pair for pair in raw_query.split("&") if not pair.startswith("X-Amz-Signature=")
    )
    stamped = {**headers, "x-amz-date": query["X-Amz-Date"]}
    payload = query.get("X-Amz-Content-Sha256") or headers.get("x-amz-content-sha256") or UNSIGNED
    _check_signature(claim, secret, method, raw_path, signed, stamped, payload)
    return ObjectCredentials(key=key, payload_hash=payload if _HASH.fullmatch(payload) else None)


def _check_v4_time(query: Mapping[str, str], now_ms: int) -> None:
    signed_ms = stamp_ms(query.get("X-Amz-Date", ""))
    expires = query.get("X-Amz-Expires", "")
    if signed_ms is None or not _SECONDS.fullmatch(expires):
        refuse(RefusalReason.INCOMPLETE, "A presigned URL needs X-Amz-Date and X-Amz-Expires.")
    if not 0 < int(expires) <= _EXPIRES_S_MAX:
        refuse(
            RefusalReason.INCOMPLETE,
            f"X-Amz-Expires must be less than a week (in seconds) and greater than 0: {expires}.",
        )
    if now_ms > signed_ms + int(expires) * 1_000:
        refuse(RefusalReason.EXPIRED, f"Request has expired: it was good for {expires} s.")
    if signed_ms > now_ms + _SKEW_MS_MAX:
        refuse(RefusalReason.SKEWED, f"Request is not valid yet: it is of {query['X-Amz-Date']}.")


def _presigned_v2(
    authenticator: Authenticator,
    method: str,
    raw_path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    now_ms: int,
) -> ObjectCredentials:
    _check_v2_time(query, now_ms)
    key, secret = authenticator.key_by_id(query["AWSAccessKeyId"])
    given = dict(headers)
    for name, value in query.items():
        word = name.lower()
        if word.startswith("x-amz-") or word in ("content-md5", "content-type"):
            given.setdefault(word, value)
    amz = "".join(
        f"{name}:{given[name].strip()}\n" for name in sorted(given) if name.startswith("x-amz-")
    )
    words = [
        name if not value else f"{name}={value}"
        for name, value in sorted(query.items())
        if name in _V2_SIGNED
    ]
    resource = raw_path + ("?" + "&".join(words) if words else "")
    to_sign = (
        f"{method}\n{given.get('content-md5', '')}\n{given.get('content-type', '')}\n"
        f"{query['Expires']}\n{amz}{resource}"
    )
    expected = base64.b64encode(hmac.digest(secret.encode(), to_sign.encode(), "sha1"))
    if not hmac.compare_digest(expected, query["Signature"].encode()):
        _mismatched()
    return ObjectCredentials(key=key, payload_hash=declared_hash(given))


def _check_v2_time(query: Mapping[str, str], now_ms: int) -> None:
    expires = query.get("Expires", "")
    if not _SECONDS.fullmatch(expires):
        refuse(
            RefusalReason.INCOMPLETE, "A presigned URL needs Expires, in seconds since the epoch."
        )
    if now_ms > int(expires) * 1_000:
        refuse(RefusalReason.EXPIRED, "Request has expired.")


def _check_signature(
    claim: SignatureClaim,
    secret: str,
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Mapping[str, str],
    payload: str,
) -> None:
    # Clients differ in which characters of a path they leave alone; the second is AWS's own way.
    encoded = quote(unquote_to_bytes(raw_path), safe="/-_.~")
    for path in dict.fromkeys((raw_path, encoded)):
        expected = signature(
            claim,
            secret,
            method=method,
            raw_path=path,
            raw_query=raw_query,
            headers=headers,
            payload_hash=payload,
        )
        if hmac.compare_digest(expected.encode(), claim.signature.encode()):
            return
    _mismatched()


def _mismatched() -> None:
    refuse(
        RefusalReason.MISMATCHED,
        "The request signature we calculated does not match the signature you provided. Check"
        " your key and signing method.",
    )
