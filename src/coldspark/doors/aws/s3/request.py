"""One call of S3: what was asked for, by whom, and what its headers say."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response

from coldspark.doors.aws.protocol.credential_scope import ACCOUNT
from coldspark.doors.aws.s3.errors import S3Error, not_implemented
from coldspark.doors.aws.s3.xml import http_date
from coldspark.http.auth.s3_signatures import ObjectCredentials
from coldspark.objects.records import KEY_BYTES_MAX

OWNER = "coldspark"
_DEFAULT_TYPE = "binary/octet-stream"
_PARAMETERS_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Request:
    """A request whose sender is known."""

    request: Request
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Lower-case names; also what a presigned URL carries."""
    proof: ObjectCredentials
    region: str

    @property
    def method(self) -> str:
        """Return the HTTP method."""
        return self.request.method

    def number(self, name: str, default: int, high: int, *, low: int = 0) -> int:
        """Return a parameter of the query. Raises S3Error."""
        value = self.query.get(name) or str(default)
        if not (value.isascii() and value.isdecimal() and len(value) <= 10):
            raise S3Error(
                "InvalidArgument", f"Provided {name} not an integer or within integer range."
            )
        number = int(value)
        if not low <= number:
            raise S3Error("InvalidArgument", f"{name} must be {low} or more, not {number}.")
        if number > high:
            if low:
                raise S3Error("InvalidArgument", f"{name} must lie in {low}..{high}.")
            return high
        return number


def split_path(raw_path: str) -> tuple[str, str]:
    """Return bucket and key of a path as sent. Raises S3Error."""
    bucket, _, key = raw_path[1:].partition("/")
    try:
        plain = unquote_to_bytes(key).decode()
        name = unquote_to_bytes(bucket).decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidURI", "Couldn't parse the specified URI: it is not UTF-8.") from None
    if len(plain.encode()) > KEY_BYTES_MAX:
        raise S3Error(
            "KeyTooLongError", f"Your key is too long: at most {KEY_BYTES_MAX} bytes of UTF-8."
        )
    return name, plain


def parameters(raw_query: str) -> dict[str, str]:
    """Return the query's parameters. Raises S3Error."""
    try:
        pairs = parse_qsl(raw_query, keep_blank_values=True, max_num_fields=_PARAMETERS_MAX)
    except ValueError:
        raise S3Error("InvalidURI", "The query has too many parameters.") from None
    return dict(pairs)


def joined(headers: Mapping[bytes, bytes] | list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers under lower-case names; the values of a repeated one are joined."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers if isinstance(headers, list) else headers.items():
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


_KNOWN_WORDS = (
    "acl checksum-algorithm checksum-mode checksum-type content-sha256 copy-source "
    "copy-source-if-match copy-source-if-modified-since copy-source-if-none-match "
    "copy-source-if-unmodified-since copy-source-range date decoded-content-length "
    "expected-bucket-owner metadata-directive mp-object-size object-ownership request-payer "
    "sdk-checksum-algorithm security-token server-side-encryption source-expected-bucket-owner "
    "storage-class tagging-directive trailer user-agent bucket-object-lock-enabled"
)
_KNOWN = frozenset(f"x-amz-{word}" for word in _KNOWN_WORDS.split())
_ONLY = {
    "x-amz-acl": ("private", "bucket-owner-full-control", "bucket-owner-read"),
    "x-amz-storage-class": ("STANDARD",),
    # Without a key of one's own it says what AWS does by default, and SDKs always send it; the
    # answer does not claim it.
    "x-amz-server-side-encryption": ("AES256", "aws:kms"),
    "x-amz-request-payer": ("requester",),
    "x-amz-object-ownership": ("BucketOwnerEnforced",),
    "x-amz-tagging-directive": ("COPY",),
    "x-amz-bucket-object-lock-enabled": ("false", "False"),
}
"""Headers that ask for what is so in any case; another value asks for what is not there."""


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse what asks for something that is not done here. Raises S3Error."""
    for name, value in headers.items():
        if not name.startswith("x-amz-"):
            continue
        if name.startswith(("x-amz-meta-", "x-amz-checksum-")):
            continue
        if name not in _KNOWN:
            not_implemented(f"The header {name}", "leave it out")
        if name in _ONLY and value not in _ONLY[name]:
            not_implemented(f"{name}: {value[:80]}", f"send {_ONLY[name][0]}, or leave it out")
        if name.endswith("expected-bucket-owner") and value != ACCOUNT:
            raise S3Error(
                "AccessDenied", f"The bucket's owner is {ACCOUNT}, not {value[:20]!r}.", 403
            )


def xml_response(body: bytes, status: int = 200) -> Response:
    """Return a document."""
    return Response(body, status, media_type="application/xml")


def quoted(etag: str) -> str:
    """Return an ETag as HTTP has it."""
    return f'"{etag}"'


def object_headers(etag: str, modified_ms: int, content_type: str | None) -> dict[str, str]:
    """Return the headers that every look at an object gives."""
    return {
        "etag": quoted(etag),
        "last-modified": http_date(modified_ms),
        "content-type": content_type or _DEFAULT_TYPE,
        "accept-ranges": "bytes",
    }
