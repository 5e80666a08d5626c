"""Objects in parts: begin, upload, copy, list, complete and abort."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from msgspec.structs import replace
from starlette.responses import Response

from coldspark.doors.aws.s3 import checksums, conditions
from coldspark.doors.aws.s3.buckets import PAGE_ROWS_MAX, encoding, owner
from coldspark.doors.aws.s3.errors import S3Error
from coldspark.doors.aws.s3.objects import checksum_nodes, copy_source, describe
from coldspark.doors.aws.s3.request import S3Request, quoted, xml_response
from coldspark.doors.aws.s3.request_body import PUT_BYTES_MAX, IncomingBody, read_document
from coldspark.doors.aws.s3.xml import (
    Element,
    document,
    iso_timestamp,
    node,
    optional_text,
    read,
    text,
)
from coldspark.errors import InvalidRequest, NotFound
from coldspark.objects.local_buckets import OBJECT_BYTES_MAX, LocalBuckets
from coldspark.objects.multipart_uploads import PARTS_MAX, Uploads
from coldspark.objects.records import Description, LocalObject, NoSuchUpload
from coldspark.objects.uploads_table import Part, Upload

PART_BYTES_MIN = 5 * 1024**2
"""Of every part but the last."""


@dataclass(frozen=True, slots=True)
class _Named:
    """A part as the completion names it."""

    number: int
    etag: str
    checksum: str | None


class MultipartOperations:
    """The operations on uploads in parts."""

    def __init__(self, own: LocalBuckets) -> None:
        self._own = own
        self._uploads = Uploads(own)

    async def begin(self, call: S3Request) -> Response:
        """Begin an upload."""
        description = describe(call.headers)
        headers: dict[str, str] = {}
        wanted = call.headers.get("x-amz-checksum-algorithm")
        if wanted is not None:
            algorithm = checksums.algorithm_named(wanted)
            kind = call.headers.get("x-amz-checksum-type")
            is_composite = checksums.is_composite(algorithm, kind)
            description = replace(description, checksum=(algorithm, ""), is_composite=is_composite)
            headers = {
                "x-amz-checksum-algorithm": algorithm.upper(),
                "x-amz-checksum-type": "COMPOSITE" if is_composite else "FULL_OBJECT",
            }
        upload = await self._uploads.begin(call.bucket, call.key, description)
        answer = xml_response(
            document(
                "InitiateMultipartUploadResult",
                text("Bucket", call.bucket),
                text("Key", call.key),
                text("UploadId", upload.id),
            )
        )
        answer.headers.update(headers)
        return answer

    async def put(self, call: S3Request) -> Response:
        """Take a part."""
        number, upload = _number(call), await self._upload(call)
        algorithm = _algorithm(upload)
        incoming = IncomingBody(call, algorithm=algorithm)
        draft = await asyncio.to_thread(self._own.files.draft, incoming.hashers)
        try:
            await self._own.receive(draft, incoming.chunks(), PUT_BYTES_MAX)
            incoming.check(draft.md5)
            checksum = incoming.checksum if algorithm is not None else None
            value = None if checksum is None else checksum[1]
            part = await self._uploads.put(upload, number, draft, draft.md5.hex(), value)
        finally:
            await asyncio.to_thread(draft.discard)
        told = incoming.checksum
        headers = {} if told is None else {f"x-amz-checksum-{told[0]}": told[1]}
        return Response(headers={"etag": quoted(part.etag)} | headers)

    async def copy(self, call: S3Request) -> Response:
        """Make a part of a stretch of an object."""
        number, upload = _number(call), await self._upload(call)
        source = await copy_source(self._own, call)
        wanted = call.headers.get("x-amz-copy-source-range")
        start, end = (
            (0, source.size_bytes)
            if wanted is None
            else conditions.copy_range(wanted, source.size_bytes)
        )
        if end - start > PUT_BYTES_MAX:
            raise S3Error(
                "InvalidRequest", f"A part has at most {PUT_BYTES_MAX} bytes: name a range."
            )
        algorithm = _algorithm(upload)
        digest = None if algorithm is None else checksums.digest_of(algorithm)
        draft = await asyncio.to_thread(self._own.files.draft, [] if digest is None else [digest])
        try:
            async with self._own.open_reader(source.bucket, source.key) as reading:
                await self._own.receive(draft, reading.blocks(start, end), PUT_BYTES_MAX)
            value = None if digest is None else checksums.encoded(digest.digest())
            part = await self._uploads.put(upload, number, draft, draft.md5.hex(), value)
        finally:
            await asyncio.to_thread(draft.discard)
        return xml_response(
            document(
                "CopyPartResult",
                text("LastModified", iso_timestamp(part.modified_ms)),
                text("ETag", quoted(part.etag)),
                *_checksum(algorithm, value),
            )
        )

    async def complete(self, call: S3Request) -> Response:
        """Make the object. Said again, as SDKs do that missed the answer, it is told again."""
        root = read(await read_document(call), "CompleteMultipartUpload")
        try:
            made = await self._complete(call, root)
        except NoSuchUpload:
            found = await self._made(call, _named(root, None))
            if found is None:
                raise
            made = found
        return _completed(call, made)

    async def _complete(self, call: S3Request, root: Element) -> LocalObject:
        upload = await self._upload(call)
        named = _named(root, _algorithm(upload))
        have = {part.number: part for part in await self._uploads.parts(upload)}
        parts = [_checked(one, have.get(one.number)) for one in named]
        _check_sizes(parts, call)
        description = _summed(call, upload, parts)
        etag = _etag([part.etag for part in parts])
        condition = conditions.condition_of(call.headers)
        return await self._uploads.complete(upload, parts, etag, description, condition)

    async def _made(self, call: S3Request, named: Sequence[_Named]) -> LocalObject | None:
        """Return the object that this upload became, of these parts, while it stands."""
        try:
            found = await self._own.find(call.bucket, call.key)
            etag = _etag([one.etag for one in named])
        except (NotFound, ValueError):
            return None
        is_it = found.description.upload == call.query["uploadId"] and found.etag == etag
        return found if is_it else None

    async def abort(self, call: S3Request) -> Response:
        """End an upload."""
        await self._uploads.abort(call.bucket, call.key, call.query["uploadId"])
        return Response(status_code=204)

    async def parts(self, call: S3Request) -> Response:
        """List the parts of an upload."""
        upload = await self._upload(call)
        after = call.number("part-number-marker", 0, PARTS_MAX)
        most = call.number("max-parts", PAGE_ROWS_MAX, PAGE_ROWS_MAX)
        found = await self._uploads.parts(upload, after=after, limit=most + 1)
        shown = found[:most]
        algorithm = _algorithm(upload)
        encode = encoding(call)
        rows = [
            node(
                "Part",
                text("PartNumber", part.number),
                text("LastModified", iso_timestamp(part.modified_ms)),
                text("ETag", quoted(part.etag)),
                text("Size", part.size_bytes),
                *_checksum(algorithm, part.checksum),
            )
            for part in shown
        ]
        return xml_response(
            document(
                "ListPartsResult",
                text("Bucket", call.bucket),
                text("Key", encode(call.key)),
                text("UploadId", upload.id),
                text("PartNumberMarker", after),
                optional_text("NextPartNumberMarker", shown[-1].number if shown else None),
                text("MaxParts", most),
                text("IsTruncated", len(found) > most),
                owner("Initiator"),
                owner(),
                text("StorageClass", "STANDARD"),
                *_kinds(upload.description),
                *rows,
            )
        )

    async def uploads(self, call: S3Request) -> Response:
        """List the uploads that have begun in a bucket."""
        if call.query.get("delimiter"):
            raise S3Error(
                "NotImplemented",
                "delimiter of ListMultipartUploads is not implemented here: use prefix.",
                501,
            )
        prefix, most = (
            call.query.get("prefix", ""),
            call.number("max-uploads", PAGE_ROWS_MAX, PAGE_ROWS_MAX, low=1),
        )
        key, id = call.query.get("key-marker", ""), call.query.get("upload-id-marker", "")
        found = await self._uploads.page(
            call.bucket, prefix=prefix, after_key=key, after_id=id, limit=most + 1
        )
        shown, is_more = found[:most], len(found) > most
        encode = encoding(call)
        return xml_response(
            document(
                "ListMultipartUploadsResult",
                text("Bucket", call.bucket),
                text("KeyMarker", encode(key)),
                text("UploadIdMarker", id),
                optional_text("NextKeyMarker", encode(shown[-1].key) if is_more else None),
                optional_text("NextUploadIdMarker", shown[-1].id if is_more else None),
                optional_text("Prefix", encode(prefix) if prefix else None),
                optional_text("EncodingType", call.query.get("encoding-type") or None),
                text("MaxUploads", most),
                text("IsTruncated", is_more),
                *(_upload_row(one, encode) for one in shown),
            )
        )

    async def _upload(self, call: S3Request) -> Upload:
        return await self._uploads.find(call.bucket, call.key, call.query["uploadId"])


def _completed(call: S3Request, made: LocalObject) -> Response:
    host = call.headers.get("host", "localhost")
    return xml_response(
        document(
            "CompleteMultipartUploadResult",
            text("Location", f"http://{host}{call.request.scope['path']}"),
            text("Bucket", call.bucket),
            text("Key", call.key),
            text("ETag", quoted(made.etag)),
            *checksum_nodes(made.description),
        )
    )


def _etag(parts: Sequence[str]) -> str:
    """Return the ETag of an object of parts with these. Raises ValueError where one is no MD5."""
    digests = b"".join(bytes.fromhex(part) for part in parts)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"


def _upload_row(upload: Upload, encode: encoding) -> str:
    return node(
        "Upload",
        text("Key", encode(upload.key)),
        text("UploadId", upload.id),
        owner("Initiator"),
        owner(),
        text("StorageClass", "STANDARD"),
        text("Initiated", iso_timestamp(upload.created_ms)),
        *_kinds(upload.description),
    )


def _kinds(description: Description) -> list[str]:
    if description.checksum is None:
        return []
    kind = "COMPOSITE" if description.is_composite else "FULL_OBJECT"
    algorithm = description.checksum[0].upper()
    return [text("ChecksumAlgorithm", algorithm), text("ChecksumType", kind)]


def _checksum(algorithm: str | None, value: str | None) -> list[str]:
    if algorithm is None or value is None:
        return []
    return [text(f"Checksum{algorithm.upper()}", value)]


def _algorithm(upload: Upload) -> str | None:
    checksum = upload.description.checksum
    return None if checksum is None else checksum[0]


def _number(call: S3Request) -> int:
    try:
        return call.number("partNumber", 0, PARTS_MAX, low=1)
    except S3Error:
        raise S3Error(
            "InvalidArgument",
            f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive.",
        ) from None


def _named(root: Element, algorithm: str | None) -> list[_Named]:
    """Return the parts that a completion names. Raises S3Error."""
    named: list[_Named] = []
    for one in root.all("Part"):
        texts = one.texts()
        number, etag = texts.get("PartNumber", ""), texts.get("ETag")
        if not (number.isascii() and number.isdecimal() and len(number) < 9) or etag is None:
            raise S3Error("MalformedXML", "A Part needs a PartNumber and an ETag.")
        checksum = None if algorithm is None else texts.get(f"Checksum{algorithm.upper()}")
        named.append(_Named(int(number), etag.strip('"'), checksum))
    if not 0 < len(named) <= PARTS_MAX:
        raise S3Error("MalformedXML", f"A completion names 1 to {PARTS_MAX} parts.")
    if any(left.number >= right.number for left, right in pairwise(named)):
        raise S3Error(
            "InvalidPartOrder",
            "The list of parts was not in ascending order. Parts must be ordered by part number.",
        )
    return named


def _checked(named: _Named, part: Part | None) -> Part:
    if part is not None and part.etag == named.etag and named.checksum in (None, part.checksum):
        return part
    raise S3Error(
        "InvalidPart",
        f"Part {named.number} could not be found: it was not uploaded, or its ETag or checksum is"
        " not the one that the completion names.",
    )


def _check_sizes(parts: Sequence[Part], call: S3Request) -> None:
    for part in parts[:-1]:
        if part.size_bytes < PART_BYTES_MIN:
            raise S3Error(
                "EntityTooSmall",
                f"Part {part.number} has {part.size_bytes} bytes: every part but the last has at"
                f" least {PART_BYTES_MIN}.",
            )
    size = sum(part.size_bytes for part in parts)
    if size > OBJECT_BYTES_MAX:
        raise S3Error("EntityTooLarge", f"The object has {size} bytes: {OBJECT_BYTES_MAX} at most.")
    stated = call.headers.get("x-amz-mp-object-size")
    if stated is not None and stated != str(size):
        raise S3Error(
            "InvalidRequest",
            f"The parts have {size} bytes, but x-amz-mp-object-size is {stated[:40]}.",
        )


def _summed(call: S3Request, upload: Upload, parts: Sequence[Part]) -> Description:
    """Return the upload's description with the whole object's checksum. Raises S3Error."""
    description, algorithm = upload.description, _algorithm(upload)
    if algorithm is None:
        return description
    known = [(part.checksum, part.size_bytes) for part in parts if part.checksum is not None]
    if len(known) != len(parts):
        raise InvalidRequest("A part has no checksum: upload it again.")
    value = checksums.of_parts(algorithm, known, composite=description.is_composite)
    stated = call.headers.get(f"x-amz-checksum-{algorithm}")
    if stated is not None and stated != value:
        raise S3Error(
            "BadDigest", f"The {algorithm.upper()} you specified did not match that of the parts."
        )
    return replace(description, checksum=(algorithm, value))
