"""Signatures: whatever botocore's own signer makes is verified, and nothing else is."""

from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from coldspark.http.auth.authenticator import Authenticator
from coldspark.http.auth.refusals import AuthRefused, RefusalReason
from coldspark.http.auth.sigv4 import (
    SigningScope,
    canonical_path,
    canonical_query,
    signing_key,
    stamp_ms,
)
from coldspark.platform.ports import Key

KEY = Key(id="CSKABCDEFGHIJKLMNOPQ", name="ci", scopes=("admin",), created_ms=0)
SECRET = "s3cr3t/+of a key"


class OneKey:
    """A key store with one key."""

    def is_empty(self) -> bool:
        return False

    def by_bearer(self, token: str) -> Key | None:
        return KEY if token == f"csk_{KEY.id}" else None

    def secret(self, key_id: str) -> str | None:
        return SECRET if key_id == KEY.id else None

    def by_id(self, key_id: str) -> Key | None:
        return KEY if key_id == KEY.id else None


def signed(
    method: str = "POST",
    path: str = "/",
    query: str = "",
    body: bytes = b"{}",
    *,
    headers: dict[str, str] | None = None,
    secret: str = SECRET,
    service: str = "sagemaker",
    signer: type[SigV4Auth] = SigV4Auth,
) -> dict[str, str]:
    """Return the headers, in lower case, of a request that botocore signed."""
    url = f"http://127.0.0.1:8080{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=method, url=url, data=body, headers=headers or {})
    signer(Credentials(KEY.id, secret), service, "eu-west-1").add_auth(request)
    sent = {name.lower(): value for name, value in request.headers.items()}
    return sent | {"host": "127.0.0.1:8080"}


def now_of(headers: dict[str, str]) -> int:
    """Return the moment at which a request was signed."""
    at_ms = stamp_ms(headers["x-amz-date"])
    assert at_ms is not None
    return at_ms


def verify(
    headers: dict[str, str],
    *,
    method: str = "POST",
    path: str = "/",
    query: str = "",
    body: bytes = b"{}",
    late_ms: int = 0,
    **options: object,
) -> Key | None:
    """Return the key that a request proves."""
    authenticator = Authenticator(OneKey(), **options)  # type: ignore[arg-type]
    now_ms = now_of(headers) + late_ms
    return authenticator.authenticate(method, path, query, headers, body, now_ms=now_ms)


segments = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\t"), max_size=12
)
paths = st.lists(segments, max_size=4).map(
    lambda parts: "/" + "/".join(quote(part, safe="~") for part in parts)
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
queries = st.lists(st.tuples(names, names), max_size=4).map(
    lambda pairs: "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs
    )
)


@settings(deadline=None)
@given(path=paths, query=queries, body=st.binary(max_size=64))
def test_any_request_that_botocore_signs_is_verified(path: str, query: str, body: bytes) -> None:
    """Paths are encoded twice and normalised, queries sorted, bodies hashed, as botocore does."""
    headers = signed("POST", path, query, body)

    assert verify(headers, path=path, query=query, body=body) == KEY


@settings(deadline=None)
@given(path=paths)
def test_s3_signs_the_path_as_it_is(path: str) -> None:
    """S3 neither encodes the path again nor resolves dots in it."""
    headers = signed("PUT", path, service="s3", signer=S3SigV4Auth)

    assert verify(headers, method="PUT", path=path, services=frozenset({"s3"})) == KEY


@settings(deadline=None)
@given(
    value=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    body=st.binary(max_size=20),
)
def test_headers_are_signed_with_their_spaces_folded(value: str, body: bytes) -> None:
    """Custom attributes may hold any spaces: HTTP strips the outer ones, the signer folds all."""
    headers = signed(headers={"X-Amzn-SageMaker-Custom-Attributes": value}, body=body)
    headers["x-amzn-sagemaker-custom-attributes"] = value.strip()

    assert verify(headers, body=body) == KEY


def test_the_signing_key_of_awss_worked_example() -> None:
    """AWS documents one signing key: this secret, 20120215, us-east-1, iam."""
    scope = SigningScope(day="20120215", region="us-east-1", service="iam")

    key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", scope)

    assert key.hex() == "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"


def test_paths_are_normalised_and_encoded_once_more() -> None:
    """``%2F`` as sent is ``%252F`` in the canonical request."""
    assert canonical_path("/endpoints/a%2Fb/invocations", "sagemaker") == (
        "/endpoints/a%252Fb/invocations"
    )
    assert canonical_path("/a/./b//../c/", "sagemaker") == "/a/c/"
    assert canonical_path("", "sagemaker") == "/"


def test_queries_are_sorted_after_encoding() -> None:
    """A name without ``=`` has an empty value; a plus is a plus."""
    assert canonical_query("b=2&a=%7e+x&b") == "a=~%2Bx&b=&b=2"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"authorization": "AWS4-HMAC-SHA256 Credential=x"}, RefusalReason.INCOMPLETE),
        ({"authorization": "AWS4-HMAC-SHA256 nonsense"}, RefusalReason.INCOMPLETE),
        ({"authorization": "Basic abc"}, RefusalReason.MISSING),
        ({"x-amz-target": "SageMaker.DeleteModel"}, RefusalReason.MISMATCHED),
        ({"x-amz-security-token": "added"}, RefusalReason.MISMATCHED),
        ({"x-amz-content-sha256": "0" * 64}, RefusalReason.MISMATCHED),
        ({"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, RefusalReason.MISMATCHED),
        ({"content-type": "text/plain"}, RefusalReason.MISMATCHED),
        ({"host": "elsewhere:8080"}, RefusalReason.MISMATCHED),
    ],
)
def test_a_changed_header_is_refused(change: dict[str, str], reason: RefusalReason) -> None:
    """Nothing that was signed may change, and no x-amz header may come on top."""
    headers = signed(
        headers={"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/json"}
    )

    with pytest.raises(AuthRefused) as refused:
        verify(headers | change)
    assert refused.value.reason is reason


@pytest.mark.parametrize(
    "change", [{"method": "GET"}, {"path": "/x"}, {"query": "a=b"}, {"body": b"{} "}]
)
def test_a_changed_request_is_refused(change: dict[str, str]) -> None:
    """Method, path, query and body are all covered."""
    with pytest.raises(AuthRefused, match="does not match the signature you provided"):
        verify(signed(), **change)  # type: ignore[arg-type]


def test_a_wrong_secret_is_refused() -> None:
    """The caller must hold the secret itself."""
    with pytest.raises(AuthRefused) as refused:
        verify(signed(secret="guess"))
    assert refused.value.reason is RefusalReason.MISMATCHED


def test_a_forged_signature_of_any_shape_is_refused() -> None:
    """Also one that is no hex at all, or not even ASCII."""
    headers = signed()
    start = headers["authorization"].rpartition("Signature=")[0]
    for forged in ("0" * 64, "zz", "\xe9" * 64):
        with pytest.raises(AuthRefused):
            verify(headers | {"authorization": f"{start}Signature={forged}"})


def test_an_unknown_key_is_refused() -> None:
    """The id is told apart from a wrong signature, as on AWS."""
    headers = signed()
    headers["authorization"] = headers["authorization"].replace(KEY.id, "CSKSTRANGER")

    with pytest.raises(AuthRefused, match="security token included in the request is invalid"):
        verify(headers)


@pytest.mark.parametrize(
    ("late_ms", "words"),
    [(300_001, "Signature expired"), (-300_001, "Signature not yet current")],
)
def test_a_clock_more_than_five_minutes_off_is_refused(late_ms: int, words: str) -> None:
    """A stolen request is worth nothing after five minutes."""
    with pytest.raises(AuthRefused, match=words) as refused:
        verify(signed(), late_ms=late_ms)
    assert refused.value.reason is RefusalReason.SKEWED


@pytest.mark.parametrize("late_ms", [300_000, -300_000])
def test_a_clock_five_minutes_off_is_taken(late_ms: int) -> None:
    """The bound itself is inside."""
    assert verify(signed(), late_ms=late_ms) == KEY


@pytest.mark.parametrize("stamp", ["", "today", "20261331T000000Z", "2026-01-01T00:00:00Z"])
def test_a_date_that_is_none_is_incomplete(stamp: str) -> None:
    """The message says what a date looks like."""
    headers = signed()
    now_ms = now_of(headers)

    with pytest.raises(AuthRefused, match="X-Amz-Date") as refused:
        Authenticator(OneKey()).authenticate(
            "POST", "/", "", headers | {"x-amz-date": stamp}, b"{}", now_ms=now_ms
        )
    assert refused.value.reason is RefusalReason.INCOMPLETE


def test_the_scope_must_be_this_service_and_this_day() -> None:
    """A signature for another service, or for another day's key, is refused."""
    with pytest.raises(AuthRefused, match=r"scoped to correct service: .*'sagemaker'.*, not 'ec2'"):
        verify(signed(service="ec2"))
    headers = signed()
    day = headers["x-amz-date"][:8]
    headers["authorization"] = headers["authorization"].replace(f"/{day}/", "/20200101/")
    with pytest.raises(AuthRefused, match="Date in Credential scope does not match"):
        verify(headers)


def test_an_unsigned_payload_is_taken_only_where_configured() -> None:
    """The body is then not covered; TLS has to do that."""
    headers = signed(body=b"UNSIGNED", headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})

    assert verify(headers, body=b"other", accepts_unsigned_payload=True) == KEY
    with pytest.raises(AuthRefused, match="x-amz-content-sha256"):
        verify(headers, body=b"other")


def test_an_unsigned_host_is_refused() -> None:
    """Otherwise a request for one server could be replayed at another."""
    headers = signed()
    headers["authorization"] = headers["authorization"].replace("host;", "")

    with pytest.raises(AuthRefused, match="must be signed, but are not: host"):
        verify(headers)
