"""ListBuckets, ListObjects (V1 and V2)."""

import base64
import binascii
from urllib.parse import quote

from starlette.responses import Response

from coldspark.doors.aws.protocol.credential_scope import ACCOUNT
from coldspark.doors.aws.s3.bucket_names import ReservedNames, check_name
from coldspark.doors.aws.s3.errors import S3Error
from coldspark.doors.aws.s3.request import OWNER, S3Request, quoted, xml_response
from coldspark.doors.aws.s3.request_body import read_document
from coldspark.doors.aws.s3.xml import document, iso_timestamp, node, optional_text, read, text
from coldspark.objects.local_buckets import LocalBuckets
from coldspark.objects.objects_table import Page
from coldspark.objects.records import LocalObject

PAGE_ROWS_MAX = 1_000
_BUCKETS_MAX = 10_000
_REGION_ELSEWHERE = "us-east-1"


class BucketOperations:
    """The operations on buckets."""

    def __init__(self, own: LocalBuckets, reserved: ReservedNames) -> None:
        self._own = own
        self._reserved = reserved

    async def list_all(self, call: S3Request) -> Response:
        """Return all buckets."""
        prefix = call.query.get("prefix", "")
        after = token_key(call.query.get("continuation-token"))
        most = call.number("max-buckets", _BUCKETS_MAX, _BUCKETS_MAX, low=1)
        found = [
            one
            for one in await self._own.buckets()
            if one.name.startswith(prefix) and one.name > after
        ]
        rows = [
            node(
                "Bucket",
                text("Name", one.name),
                text("CreationDate", iso_timestamp(one.created_ms)),
            )
            for one in found[:most]
        ]
        token = None if len(found) <= most else key_token(found[most - 1].name)
        return xml_response(
            document(
                "ListAllMyBucketsResult",
                owner(),
                node("Buckets", *rows),
                optional_text("ContinuationToken", token),
                optional_text("Prefix", prefix or None),
            )
        )

    async def create(self, call: S3Request) -> Response:
        """Create a bucket."""
        check_name(call.bucket, self._reserved)
        body = await read_document(call) if _has_body(call) else b""
        if body:
            place = read(body, "CreateBucketConfiguration")
            others = [one.tag for one in place.children if one.tag != "LocationConstraint"]
            if others:
                raise S3Error(
                    "NotImplemented",
                    f"{others[0][:64]} of a new bucket is not implemented here.",
                    501,
                )
        if not await self._own.create_bucket(call.bucket):
            raise S3Error(
                "BucketAlreadyOwnedByYou",
                f"Your previous request to create the named bucket succeeded and you already own"
                f" it: {call.bucket}.",
                409,
            )
        return Response(headers={"location": f"/{call.bucket}"})

    async def head(self, call: S3Request) -> Response:
        """Tell whether a bucket is here."""
        await self._own.require(call.bucket)
        return Response(
            headers={"x-amz-bucket-region": call.region, "content-type": "application/xml"}
        )

    async def delete(self, call: S3Request) -> Response:
        """Delete an empty bucket."""
        await self._own.delete_bucket(call.bucket)
        return Response(status_code=204)

    async def location(self, call: S3Request) -> Response:
        """Tell the region: whichever the caller believes in."""
        await self._own.require(call.bucket)
        # AWS's first region is told as nothing.
        place = "" if call.region == _REGION_ELSEWHERE else call.region
        return xml_response(document("LocationConstraint", place))

    async def objects(self, call: S3Request) -> Response:
        """List objects, the older way."""
        marker = call.query.get("marker", "")
        page, most = await self._page(call, marker)
        encode = encoding(call)
        delimiter = call.query.get("delimiter") or None
        # Only with a delimiter does a client need to be told: else it is the last key.
        next_marker = None if page.next_after is None else encode(page.next_after)
        return xml_response(
            document(
                "ListBucketResult",
                text("Name", call.bucket),
                text("Prefix", encode(call.query.get("prefix", ""))),
                text("Marker", encode(marker)),
                optional_text("NextMarker", next_marker if delimiter else None),
                text("MaxKeys", most),
                optional_text("Delimiter", None if delimiter is None else encode(delimiter)),
                text("IsTruncated", page.next_after is not None),
                optional_text("EncodingType", call.query.get("encoding-type") or None),
                *_rows(page, encode, is_owned=True),
            )
        )

    async def objects_v2(self, call: S3Request) -> Response:
        """List objects."""
        token = call.query.get("continuation-token")
        start = call.query.get("start-after", "")
        page, most = await self._page(call, token_key(token) if token else start)
        encode = encoding(call)
        delimiter = call.query.get("delimiter") or None
        is_owned = call.query.get("fetch-owner", "").lower() == "true"
        next_token = None if page.next_after is None else key_token(page.next_after)
        return xml_response(
            document(
                "ListBucketResult",
                text("Name", call.bucket),
                text("Prefix", encode(call.query.get("prefix", ""))),
                optional_text("ContinuationToken", token),
                optional_text("NextContinuationToken", next_token),
                optional_text("StartAfter", encode(start) if start else None),
                text("KeyCount", len(page.objects) + len(page.prefixes)),
                text("MaxKeys", most),
                optional_text("Delimiter", None if delimiter is None else encode(delimiter)),
                text("IsTruncated", page.next_after is not None),
                optional_text("EncodingType", call.query.get("encoding-type") or None),
                *_rows(page, encode, is_owned=is_owned),
            )
        )

    async def _page(self, call: S3Request, after: str) -> tuple[Page, int]:
        most = call.number("max-keys", PAGE_ROWS_MAX, PAGE_ROWS_MAX)
        if not most:
            await self._own.require(call.bucket)
            return Page(objects=(), prefixes=(), next_after=None), 0
        page = await self._own.page(
            call.bucket,
            prefix=call.query.get("prefix", ""),
            after=after,
            delimiter=call.query.get("delimiter", ""),
            limit=most,
        )
        return page, most


class encoding:
    """How keys are written: as they are, or percent-encoded."""

    def __init__(self, call: S3Request) -> None:
        kind = call.query.get("encoding-type")
        if kind not in (None, "", "url"):
            raise S3Error("InvalidArgument", f"Invalid Encoding Method specified: {kind[:40]!r}.")
        self._is_url = kind == "url"

    def __call__(self, key: str) -> str:
        """Return a key as the caller wants it."""
        return quote(key, safe="/*-._") if self._is_url else key


def owner(tag: str = "Owner") -> str:
    """Return the one who owns everything."""
    return node(tag, text("DisplayName", OWNER), text("ID", ACCOUNT))


def key_token(key: str) -> str:
    """Return where a list goes on, in letters that pass through anything."""
    return base64.urlsafe_b64encode(key.encode()).decode()


def token_key(token: str | None) -> str:
    """Return the key behind which a list goes on. Raises S3Error."""
    try:
        return base64.b64decode(token or "", altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise S3Error("InvalidArgument", "The continuation token provided is incorrect.") from None


def _rows(page: Page, encode: encoding, *, is_owned: bool) -> list[str]:
    rows = [_row(one, encode, is_owned=is_owned) for one in page.objects]
    return rows + [
        node("CommonPrefixes", text("Prefix", encode(prefix))) for prefix in page.prefixes
    ]


def _row(one: LocalObject, encode: encoding, *, is_owned: bool) -> str:
    checksum = one.description.checksum
    kinds = (
        []
        if checksum is None
        else [
            text("ChecksumAlgorithm", checksum[0].upper()),
            text("ChecksumType", "COMPOSITE" if one.description.is_composite else "FULL_OBJECT"),
        ]
    )
    return node(
        "Contents",
        text("Key", encode(one.key)),
        text("LastModified", iso_timestamp(one.modified_ms)),
        text("ETag", quoted(one.etag)),
        *kinds,
        text("Size", one.size_bytes),
        *([owner()] if is_owned else []),
        text("StorageClass", "STANDARD"),
    )


def _has_body(call: S3Request) -> bool:
    return call.headers.get("content-length", "0") != "0" or "transfer-encoding" in call.headers
