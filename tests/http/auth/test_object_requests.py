"""What a request to object storage proves by its head; boto3's own are in tests/compat."""

import pytest
from test_authenticator import Keys, key

from coldspark.http.auth.authenticator import Authenticator
from coldspark.http.auth.refusals import AuthRefused, RefusalReason
from coldspark.http.auth.s3_signatures import (
    ObjectCredentials,
    authenticate_object,
    headers_with_presigned,
)
from coldspark.http.auth.sigv4 import SignatureClaim, SigningScope, signature

STAMP, NOW_MS = "20260131T120000Z", 1_769_860_800_000
UNSIGNED = "UNSIGNED-PAYLOAD"


def asked(
    payload: str = "0" * 64,
    *,
    path: str = "/models/a//b",
    signed_path: str | None = None,
    is_local: bool = False,
    accepts_unsigned_payload: bool = False,
) -> ObjectCredentials:
    """Ask with a signature of our own making."""
    headers = {"host": "h", "x-amz-date": STAMP, "x-amz-content-sha256": payload}
    scope = SigningScope(day=STAMP[:8], region="r", service="s3")
    claim = SignatureClaim(
        key_id="CSK1", scope=scope, signed_headers=tuple(sorted(headers)), signature=""
    )
    proof = signature(
        claim,
        "secret",
        method="PUT",
        raw_path=signed_path or path,
        raw_query="",
        headers=headers,
        payload_hash=payload,
    )
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential=CSK1/{scope.text}, "
        f"SignedHeaders={';'.join(claim.signed_headers)}, Signature={proof}"
    )
    authenticator = Authenticator(
        Keys(key("deploy")), accepts_unsigned_payload=accepts_unsigned_payload
    )
    return authenticate_object(
        authenticator, "PUT", path, "", headers, is_local=is_local, now_ms=NOW_MS
    )


@pytest.mark.parametrize("payload", [UNSIGNED, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"])
def test_a_body_that_nothing_vouches_for_is_taken_from_this_machine_only(payload: str) -> None:
    """Unless the server is told to take it from everybody."""
    assert asked(payload, is_local=True).payload_hash is None
    assert asked(payload, accepts_unsigned_payload=True).payload_hash is None
    with pytest.raises(AuthRefused, match="this machine only") as refused:
        asked(payload)
    assert refused.value.reason is RefusalReason.MISMATCHED


def test_a_named_hash_is_what_the_body_must_have() -> None:
    """And each chunk of a signed stream must carry its signature."""
    assert asked("0" * 64).payload_hash == "0" * 64
    assert asked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD").chain is not None
    with pytest.raises(AuthRefused, match="x-amz-content-sha256"):
        asked("nonsense")


def test_a_path_is_signed_as_it_is_sent_or_as_aws_writes_it() -> None:
    """Clients differ in what they leave unencoded; nothing else is forgiven."""
    assert asked(path="/models/a(b)", signed_path="/models/a%28b%29").key
    assert asked(path="/models/a/../b").key
    with pytest.raises(AuthRefused):
        asked(path="/models/a/../b", signed_path="/models/b")


def test_a_presigned_url_carries_headers_for_its_holder() -> None:
    """What it was signed with, unless they are sent; nothing of the signature itself."""
    query = "X-Amz-Signature=0&X-Amz-Date=1&x-amz-meta-a=b&x-amz-acl=private&prefix=c"
    given = headers_with_presigned({"x-amz-acl": "sent"}, query)
    assert given == {"x-amz-acl": "sent", "x-amz-meta-a": "b"}
    assert headers_with_presigned({}, "x-amz-meta-a=b") == {}
