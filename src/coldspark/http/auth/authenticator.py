"""One check for all doors: from a request's head and body to the key that it proves.

Rules:
- While no key exists everyone is let in, as on a loopback address nobody else can call. A server
  that listens elsewhere passes ``is_key_required=True``, so that deleting the last key closes the
  door rather than opening it.
- ``Authorization: Bearer csk_…`` and AWS Signature Version 4 are equal; session tokens are ignored.
- A signature covers ``host`` and every ``x-amz-*`` header that is present: an unsigned
  ``X-Amz-Target`` would let a proxy turn Describe into Delete.
- Presigned queries are refused: they outlive the five minutes that a header may.
"""

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple, Never

from coldspark.http.auth.refusals import RefusalReason, refuse
from coldspark.http.auth.sigv4 import ALGORITHM, SignatureClaim, parse_claim, signature, stamp_ms
from coldspark.platform.ports import ApiKeys, Key

SIGNING_NAMES = frozenset(
    {"sagemaker", "application-autoscaling", "monitoring", "logs", "s3", "sts", "iam", "sns"}
)
"""The services of AWS that a signature may be made for."""
_UNSIGNED = "UNSIGNED-PAYLOAD"
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SKEW_MS_MAX = 5 * 60 * 1_000


class HeadCredentials(NamedTuple):
    """What a request's head proves by itself."""

    key: Key | None
    payload_hash: str | None
    """The SHA-256 in hex that was signed for the body; None: any body will do."""


class Authenticator:
    """Finds out who calls. Nothing is kept but the day's signing keys."""

    def __init__(
        self,
        keys: ApiKeys,
        *,
        is_key_required: bool = False,
        accepts_unsigned_payload: bool = False,
        services: frozenset[str] = SIGNING_NAMES,
    ) -> None:
        self._keys = keys
        self._is_key_required = is_key_required
        self._accepts_unsigned_payload = accepts_unsigned_payload
        self._services = services

    def is_open(self) -> bool:
        """Return whether everyone is let in: no key exists, and none is required."""
        return not self._is_key_required and self._keys.is_empty()

    def authenticate(
        self,
        method: str,
        raw_path: str,
        raw_query: str,
        headers: Mapping[str, str],
        body: bytes | str,
        *,
        now_ms: int,
    ) -> Key | None:
        """Return the caller's key, or None where none is needed. Raises AuthRefused.

        ``body``: all of it, or its SHA-256 in hex.

        ``raw_path`` and ``raw_query`` are as sent, still percent-encoded. ``headers`` has
        lower-case names; values of a repeated header are joined with a comma.
        """
        if self.is_open():
            return None
        authorization = headers.get("authorization", "")
        if authorization.startswith(ALGORITHM):
            claim = parse_claim(authorization)
            return self._verify(claim, method, raw_path, raw_query, headers, body, now_ms)
        if authorization[:7].lower() == "bearer ":
            return self.key_of(authorization[7:].strip())
        return _refuse_unproven(raw_query)

    def authenticate_by_head(
        self,
        method: str,
        raw_path: str,
        raw_query: str,
        headers: Mapping[str, str],
        *,
        now_ms: int,
    ) -> HeadCredentials | None:
        """Return what the head proves before the body is here. Raises AuthRefused.

        None: a signature that covers the body's hash without naming it proves nothing yet.
        """
        authorization = headers.get("authorization", "")
        if self.is_open() or not authorization.startswith(ALGORITHM):
            key = self.authenticate(method, raw_path, raw_query, headers, b"", now_ms=now_ms)
            return HeadCredentials(key, None)
        claim, declared = parse_claim(authorization), headers.get("x-amz-content-sha256")
        if declared is None:
            self._check_claim(claim, headers, now_ms)
            return None
        key = self._verify(claim, method, raw_path, raw_query, headers, declared, now_ms)
        if declared == _UNSIGNED and self._accepts_unsigned_payload:
            return HeadCredentials(key, None)
        if not _HASH.fullmatch(declared):
            check_payload_hash(declared, "the SHA-256 of the body in hex")
        return HeadCredentials(key, declared)

    @property
    def accepts_unsigned_payload(self) -> bool:
        """Return whether a signature may leave the body out, whoever sends it."""
        return self._accepts_unsigned_payload

    def secret_of(self, claim: SignatureClaim) -> tuple[Key, str]:
        """Return the key that a claim names, and its secret. Raises AuthRefused."""
        self._check_scope(claim)
        return self.key_by_id(claim.key_id)

    def key_by_id(self, key_id: str) -> tuple[Key, str]:
        """Return a key and its secret. Raises AuthRefused."""
        secret = self._keys.secret(key_id)
        key = self._keys.by_id(key_id)
        if secret is None or key is None:
            refuse(
                RefusalReason.UNKNOWN_KEY,
                "The security token included in the request is invalid: "
                f"no key {key_id[:64]!r} exists.",
            )
        return key, secret

    def key_of(self, token: str) -> Key:
        """Return the key that a bearer token is. Raises AuthRefused."""
        key = self._keys.by_bearer(token)
        if key is None:
            refuse(RefusalReason.UNKNOWN_KEY, "The bearer token is not a key of this server.")
        return key

    def _verify(
        self,
        claim: SignatureClaim,
        method: str,
        raw_path: str,
        raw_query: str,
        headers: Mapping[str, str],
        body: bytes | str,
        now_ms: int,
    ) -> Key:
        key, secret = self._check_claim(claim, headers, now_ms)
        expected = signature(
            claim,
            secret,
            method=method,
            raw_path=raw_path,
            raw_query=raw_query,
            headers=headers,
            payload_hash=self._payload_hash(headers, body),
        )
        if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
            refuse(
                RefusalReason.MISMATCHED,
                "The request signature we calculated does not match the signature you provided. "
                "Check your AWS Secret Access Key and signing method.",
            )
        return key

    def _check_claim(
        self, claim: SignatureClaim, headers: Mapping[str, str], now_ms: int
    ) -> tuple[Key, str]:
        """Check all but the signature itself; return the key that it names, and its secret."""
        self._check_scope(claim)
        check_date(claim, headers, now_ms)
        check_signed_headers(claim, headers)
        return self.key_by_id(claim.key_id)

    def _check_scope(self, claim: SignatureClaim) -> None:
        if claim.scope.service not in self._services:
            names = " or ".join(f"'{name}'" for name in sorted(self._services))
            refuse(
                RefusalReason.MISMATCHED,
                f"Credential should be scoped to correct service: {names}, "
                f"not '{claim.scope.service[:64]}'.",
            )

    def _payload_hash(self, headers: Mapping[str, str], body: bytes | str) -> str:
        declared = headers.get("x-amz-content-sha256")
        if declared == _UNSIGNED and self._accepts_unsigned_payload:
            return _UNSIGNED
        if isinstance(body, str):
            return body
        actual = sha256(body).hexdigest()
        if declared is not None:
            check_payload_hash(declared, actual)
        return actual


def check_payload_hash(declared: str, actual: str) -> None:
    """Raise AuthRefused unless the body's hash is the one that was signed."""
    if declared != actual:
        refuse(
            RefusalReason.MISMATCHED,
            "The provided 'x-amz-content-sha256' header does not match what was computed "
            f"from the body: {declared[:64]!r} is not {actual!r}.",
        )


def _refuse_unproven(raw_query: str) -> Never:
    """Tell a caller without an Authorization header, or with one of another kind, what to send."""
    if "Signature=" in raw_query:  # also the end of X-Amz-Signature=
        refuse(
            RefusalReason.UNSUPPORTED,
            "Presigned requests are not taken; sign the request in its Authorization header.",
        )
    refuse(
        RefusalReason.MISSING,
        "Missing Authentication Token: send 'Authorization: Bearer csk_…' or an AWS "
        "signature (version 4) made with a coldspark key.",
    )


def check_date(claim: SignatureClaim, headers: Mapping[str, str], now_ms: int) -> None:
    """Refuse a signature made more than five minutes from now, or for another day."""
    stamp = headers.get("x-amz-date", "")
    signed_ms = stamp_ms(stamp)
    if signed_ms is None:
        refuse(
            RefusalReason.INCOMPLETE,
            "Authorization header requires existence of an 'X-Amz-Date' header such as "
            f"20260131T235959Z, got '{stamp[:32]}'.",
        )
    if claim.scope.day != stamp[:8]:
        refuse(
            RefusalReason.MISMATCHED,
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date "
            f"from HTTP: '{claim.scope.day[:32]}' != '{stamp[:8]}', from '{stamp}'.",
        )
    skew_ms = now_ms - signed_ms
    if skew_ms > _SKEW_MS_MAX:
        refuse(
            RefusalReason.SKEWED,
            f"Signature expired: {stamp} is {_ago(skew_ms)} ago (at most 5 min).",
        )
    if skew_ms < -_SKEW_MS_MAX:
        refuse(
            RefusalReason.SKEWED,
            f"Signature not yet current: {stamp} is {_ago(-skew_ms)} ahead (at most 5 min).",
        )


def _ago(skew_ms: int) -> str:
    return f"{skew_ms // 60_000} min {skew_ms // 1_000 % 60} s"


def check_signed_headers(claim: SignatureClaim, headers: Mapping[str, str]) -> None:
    """Refuse a signature that leaves out the host, or one of AWS's own headers."""
    signed = claim.signed_headers
    # A list and no generator, which takes twice as long: there are few headers.
    unsigned = [name for name in headers if name[:6] == "x-amz-" and name not in signed]
    if "host" in signed and not unsigned:
        return
    wanted = ["host", *(name for name in headers if name.startswith("x-amz-"))]
    missing = ", ".join(name for name in wanted if name not in signed)
    refuse(RefusalReason.MISMATCHED, f"These headers must be signed, but are not: {missing[:200]}.")
