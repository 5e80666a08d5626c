"""PutObject, GetObject, HeadObject, DeleteObject, DeleteObjects and CopyObject."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from urllib.parse import unquote_to_bytes

from msgspec.structs import replace
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from coldspark.doors.aws.s3 import conditions
from coldspark.doors.aws.s3.errors import S3Error, code_of, not_implemented
from coldspark.doors.aws.s3.request import S3Request, object_headers, quoted, xml_response
from coldspark.doors.aws.s3.request_body import (
    PUT_BYTES_MAX,
    IncomingBody,
    read_document,
    stored_encoding,
)
from coldspark.doors.aws.s3.xml import document, iso_timestamp, node, read, text
from coldspark.errors import ColdsparkError
from coldspark.objects.local_buckets import LocalBuckets, ObjectReader
from coldspark.objects.records import Condition, Description, LocalObject

_GIVEN_BACK = ("cache-control", "content-disposition", "content-language", "expires")
_METADATA = "x-amz-meta-"
_METADATA_BYTES_MAX = 2 * 1024
_DELETED_AT_ONCE = 1_000
_OVERRIDES = tuple(
    f"response-{name}" for name in (*_GIVEN_BACK, "content-encoding", "content-type")
)


class ObjectOperations:
    """The operations on objects."""

    def __init__(self, own: LocalBuckets) -> None:
        self._own = own

    async def put(self, call: S3Request) -> Response:
        """Store the body, whole or not at all."""
        description = describe(call.headers)
        condition = conditions.condition_of(call.headers)
        # Refused before the body is read, where that can be known.
        await self._check_early(call, condition)
        incoming = IncomingBody(call)
        draft = await asyncio.to_thread(self._own.files.draft, incoming.hashers)
        try:
            await self._own.receive(draft, incoming.chunks(), PUT_BYTES_MAX)
            incoming.check(draft.md5)
            description = with_checksum(description, incoming.checksum)
            put = await self._own.put(call.bucket, call.key, draft, description, condition)
        finally:
            await asyncio.to_thread(draft.discard)
        return Response(headers={"etag": quoted(put.etag)} | checksum_headers(put.description))

    async def head(self, call: S3Request) -> Response:
        """Tell of an object."""
        check_version(call)
        found = await self._own.find(call.bucket, call.key)
        try:
            conditions.check_read(call.headers, found)
        except conditions.NotModified:
            return Response(status_code=304, headers=_validators(found))
        part = conditions.range_of(call.headers, found)
        return Response(
            status_code=200 if part is None else 206, headers=_headers(call, found, part)
        )

    async def get(self, call: S3Request) -> Response:
        """Send an object, or a range of it."""
        check_version(call)
        async with AsyncExitStack() as stack:
            reading = await stack.enter_async_context(self._own.open_reader(call.bucket, call.key))
            found = reading.object
            try:
                conditions.check_read(call.headers, found)
            except conditions.NotModified:
                return Response(status_code=304, headers=_validators(found))
            part = conditions.range_of(call.headers, found)
            start, end = (0, found.size_bytes) if part is None else part
            held = stack.pop_all()
        return _Sent(
            held, reading, start, end, 200 if part is None else 206, _headers(call, found, part)
        )

    async def delete(self, call: S3Request) -> Response:
        """Delete an object; one that is not there is no error."""
        check_version(call)
        condition = Condition(etag=conditions.condition_of(call.headers).etag)
        await self._own.delete(call.bucket, call.key, condition)
        return Response(status_code=204)

    async def delete_many(self, call: S3Request) -> Response:
        """Delete up to a thousand objects, each for itself."""
        root = read(await read_document(call), "Delete")
        wanted = [one.texts() for one in root.all("Object")]
        if not 0 < len(wanted) <= _DELETED_AT_ONCE:
            raise S3Error(
                "MalformedXML",
                f"A Delete names 1 to {_DELETED_AT_ONCE} objects, not {len(wanted)}.",
            )
        await self._own.require(call.bucket)
        told = [await self._delete_one(call.bucket, one) for one in wanted]
        if (root.text("Quiet") or "").lower() == "true":
            told = [one for one in told if not one.startswith("<Deleted>")]
        return xml_response(document("DeleteResult", *told))

    async def _delete_one(self, bucket: str, wanted: Mapping[str, str]) -> str:
        key, etag = wanted.get("Key", ""), wanted.get("ETag")
        try:
            others = sorted(set(wanted) - {"Key", "ETag", "VersionId"})
            if others:
                not_implemented(f"{others[0]} of an object to delete", "leave it out")
            check_version_id(wanted.get("VersionId"))
            condition = Condition(etag=None if etag is None else etag.strip('"'))
            await self._own.delete(bucket, key, condition)
        except ColdsparkError as error:
            code, _ = code_of(error)
            inner = text("Key", key), text("Code", code), text("Message", error.message)
            return node("Error", *inner)
        return node("Deleted", text("Key", key))

    async def copy(self, call: S3Request) -> Response:
        """Give an object's bytes another key; none is copied."""
        source = await copy_source(self._own, call)
        directive = call.headers.get("x-amz-metadata-directive", "COPY")
        if directive not in ("COPY", "REPLACE"):
            raise S3Error("InvalidArgument", f"Unknown metadata directive: {directive[:40]!r}.")
        if directive == "COPY":
            description = source.description
            if (source.bucket, source.key) == (call.bucket, call.key):
                raise S3Error(
                    "InvalidRequest",
                    "This copy request is illegal because it is trying to copy an object to"
                    " itself without changing the object's metadata.",
                )
        else:
            old = source.description
            described = describe(call.headers)
            description = Description(
                content_type=described.content_type,
                headers=described.headers,
                metadata=described.metadata,
                checksum=old.checksum,
                is_composite=old.is_composite,
            )
        wanted = call.headers.get("x-amz-checksum-algorithm")
        if wanted and (description.checksum or ("",))[0] != wanted.lower():
            not_implemented(
                f"x-amz-checksum-algorithm: {wanted[:40]} for a copy of an object that has none",
                "leave it out, or store the object anew",
            )
        copied = await self._own.copy(
            source, call.bucket, call.key, description, conditions.condition_of(call.headers)
        )
        return xml_response(
            document(
                "CopyObjectResult",
                text("LastModified", iso_timestamp(copied.modified_ms)),
                text("ETag", quoted(copied.etag)),
                *checksum_nodes(copied.description),
            )
        )

    async def _check_early(self, call: S3Request, condition: Condition) -> None:
        await self._own.require(call.bucket)
        if condition.is_absent or condition.etag is not None:
            await self._own.check(call.bucket, call.key, condition)


class _Sent(StreamingResponse):
    """An object on its way out. Its bytes are held until the last is sent, or nobody wants it."""

    def __init__(
        self,
        held: AsyncExitStack,
        reading: ObjectReader,
        start: int,
        end: int,
        status: int,
        headers: Mapping[str, str],
    ) -> None:
        self._held = held
        super().__init__(reading.blocks(start, end), status, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        async with self._held:
            await super().__call__(scope, receive, send)


def describe(headers: Mapping[str, str]) -> Description:
    """Return what is said of an object that is stored. Raises S3Error."""
    kept = {name: headers[name] for name in _GIVEN_BACK if name in headers}
    encoding = stored_encoding(headers)
    if encoding is not None:
        kept["content-encoding"] = encoding
    metadata = {
        name[len(_METADATA) :]: value
        for name, value in headers.items()
        if name.startswith(_METADATA)
    }
    size = sum(len(name) + len(value) for name, value in metadata.items())
    if size > _METADATA_BYTES_MAX:
        raise S3Error(
            "MetadataTooLarge",
            f"Your metadata headers have {size} bytes: at most {_METADATA_BYTES_MAX} are kept.",
        )
    return Description(
        content_type=headers.get("content-type"),
        headers=tuple(sorted(kept.items())),
        metadata=tuple(sorted(metadata.items())),
    )


def with_checksum(described: Description, checksum: tuple[str, str] | None) -> Description:
    """Return a description with a checksum of the whole."""
    return replace(described, checksum=checksum)


def checksum_headers(described: Description) -> dict[str, str]:
    """Return the headers that tell an object's checksum."""
    if described.checksum is None:
        return {}
    name, value = described.checksum
    kind = "COMPOSITE" if described.is_composite else "FULL_OBJECT"
    return {f"x-amz-checksum-{name}": value, "x-amz-checksum-type": kind}


def checksum_nodes(described: Description) -> list[str]:
    """Return the elements that tell an object's checksum."""
    if described.checksum is None:
        return []
    name, value = described.checksum
    kind = "COMPOSITE" if described.is_composite else "FULL_OBJECT"
    return [text(f"Checksum{name.upper()}", value), text("ChecksumType", kind)]


def check_version(call: S3Request) -> None:
    """Refuse a version other than the only one, and a part. Raises S3Error."""
    check_version_id(call.query.get("versionId"))
    if "partNumber" in call.query:
        not_implemented("partNumber of an object", "ask for a range of bytes")


def check_version_id(version: str | None) -> None:
    """Refuse a version other than the only one. Raises S3Error."""
    if version not in (None, "", "null"):
        raise S3Error(
            "InvalidArgument",
            f"Invalid version id specified: {version[:80]!r}; objects here have no versions.",
        )


async def copy_source(own: LocalBuckets, call: S3Request) -> LocalObject:
    """Return the object that is copied. Raises S3Error, NoSuchBucket and NoSuchKey."""
    path, _, version = call.headers["x-amz-copy-source"].partition("?versionId=")
    check_version_id(version)
    if "%" in path:
        path = unquote_to_bytes(path).decode("utf-8", "replace")
    else:
        # Some clients send it as it is, in UTF-8; headers are read as Latin-1.
        path = path.encode("latin-1").decode("utf-8", "replace")
    bucket, _, key = path.removeprefix("/").partition("/")
    if not bucket or not key:
        raise S3Error("InvalidArgument", "Copy Source must mention the source bucket and key.")
    found = await own.find(bucket, key)
    conditions.check_read(call.headers, found, "x-amz-copy-source-")
    return found


def _validators(found: LocalObject) -> dict[str, str]:
    headers = object_headers(found.etag, found.modified_ms, None)
    return {name: headers[name] for name in ("etag", "last-modified")}


def _headers(call: S3Request, found: LocalObject, part: tuple[int, int] | None) -> dict[str, str]:
    described, size = found.description, found.size_bytes
    headers = object_headers(found.etag, found.modified_ms, described.content_type)
    headers |= dict(described.headers)
    headers |= {f"{_METADATA}{name}": value for name, value in described.metadata}
    for name in _OVERRIDES:
        if call.query.get(name):
            headers[name.removeprefix("response-")] = call.query[name]
    if part is None:
        headers["content-length"] = str(size)
        if call.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
            headers |= checksum_headers(described)
    else:
        headers["content-length"] = str(part[1] - part[0])
        headers["content-range"] = f"bytes {part[0]}-{part[1] - 1}/{size}"
    return headers
