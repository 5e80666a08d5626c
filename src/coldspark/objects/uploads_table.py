"""The rows of uploads in parts: functions that run in the database's thread, in a transaction."""

from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, Row, and_, delete, insert, or_, select, update

from coldspark.database import schema
from coldspark.objects import objects_table
from coldspark.objects.records import Condition, Description, LocalObject, NoSuchUpload, Piece

_UPLOADS, _PARTS = schema.uploads, schema.parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An object that comes in parts."""

    id: str
    bucket: str
    key: str
    created_ms: int
    touched_ms: int
    """When it began, or its last part came."""
    description: Description


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part, whole."""

    number: int
    file: str
    size_bytes: int
    etag: str
    checksum: str | None
    """In base64, with the upload's algorithm."""
    modified_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """What remains to be removed after completing an upload."""

    old_body: str | None
    unused_files: tuple[str, ...]


def begin(connection: Connection, upload: Upload) -> None:
    """Begin an upload. Raises NoSuchBucket."""
    objects_table.require_bucket(connection, upload.bucket)
    connection.execute(
        insert(_UPLOADS).values(
            id=upload.id,
            bucket=upload.bucket,
            key=upload.key,
            created_ms=upload.created_ms,
            touched_ms=upload.touched_ms,
            description=msgspec.json.encode(upload.description).decode(),
        )
    )


def require(connection: Connection, bucket: str, key: str, id: str) -> Upload:
    """Return an upload. Raises NoSuchBucket and NoSuchUpload."""
    row = connection.execute(select(_UPLOADS).where(_UPLOADS.c.id == id)).first()
    if row is None or (row.bucket, row.key) != (bucket, key):
        objects_table.require_bucket(connection, bucket)
        raise NoSuchUpload(
            f"there is no upload {id[:64]!r} of s3://{bucket}/{key}: it was completed or aborted,"
            " or it was left alone for too long",
            field="UploadId",
        )
    return _upload(row)


def put_part(connection: Connection, upload: Upload, part: Part) -> str | None:
    """Store or replace a part; return the old one's file. Raises NoSuchUpload."""
    require(connection, upload.bucket, upload.key, upload.id)
    statement = and_(_PARTS.c.upload == upload.id, _PARTS.c.number == part.number)
    old = connection.execute(delete(_PARTS).where(statement).returning(_PARTS.c.file)).first()
    connection.execute(
        insert(_PARTS).values(
            upload=upload.id,
            number=part.number,
            file=part.file,
            size_bytes=part.size_bytes,
            etag=part.etag,
            checksum=part.checksum,
            modified_ms=part.modified_ms,
        )
    )
    touched = update(_UPLOADS).where(_UPLOADS.c.id == upload.id)
    connection.execute(touched.values(touched_ms=part.modified_ms))
    return None if old is None else str(old.file)


def find_parts(connection: Connection, id: str, after: int, limit: int) -> list[Part]:
    """Return up to ``limit`` parts behind a number."""
    statement = select(_PARTS).where(_PARTS.c.upload == id, _PARTS.c.number > after)
    rows = connection.execute(statement.order_by(_PARTS.c.number).limit(limit))
    return [_part(row) for row in rows]


def complete(
    connection: Connection,
    upload: Upload,
    new: LocalObject,
    pieces: tuple[Piece, ...],
    condition: Condition,
) -> Completed:
    """Make the object of its parts, and end the upload.

    Raises NoSuchUpload where it ended meanwhile or a part was replaced, and as ``put_object``.
    """
    require(connection, upload.bucket, upload.key, upload.id)
    files = _end(connection, upload.id)
    if not {piece.file for piece in pieces} <= files:
        raise NoSuchUpload(
            f"a part of the upload {upload.id} was replaced while it was completed: complete it"
            " again",
            field="UploadId",
        )
    old = objects_table.put_object(connection, new, pieces, condition)
    unused = files - {piece.file for piece in pieces}
    return Completed(old_body=old, unused_files=tuple(sorted(unused)))


def abort(connection: Connection, bucket: str, key: str, id: str) -> set[str]:
    """End an upload; return its files. Raises NoSuchUpload."""
    return _end(connection, require(connection, bucket, key, id).id)


def abort_untouched(connection: Connection, before_ms: int, limit: int) -> tuple[int, set[str]]:
    """End up to ``limit`` uploads that nobody touched since; return how many, and their files."""
    statement = select(_UPLOADS.c.id).where(_UPLOADS.c.touched_ms < before_ms).limit(limit)
    files: set[str] = set()
    rows = connection.execute(statement).all()
    for row in rows:
        files |= _end(connection, row.id)
    return len(rows), files


def find(
    connection: Connection, bucket: str, prefix: str, after_key: str, after_id: str, limit: int
) -> list[Upload]:
    """Return up to ``limit`` uploads in a bucket, by key and id. Raises NoSuchBucket."""
    objects_table.require_bucket(connection, bucket)
    key, id = _UPLOADS.c.key, _UPLOADS.c.id
    statement = select(_UPLOADS).where(_UPLOADS.c.bucket == bucket, key >= prefix)
    high = objects_table.after_prefix(prefix)
    if high is not None:
        statement = statement.where(key < high)
    if after_key:
        behind = and_(key == after_key, id > after_id) if after_id else key > after_key
        statement = statement.where(or_(key > after_key, behind))
    return [_upload(row) for row in connection.execute(statement.order_by(key, id).limit(limit))]


def _end(connection: Connection, id: str) -> set[str]:
    gone = delete(_PARTS).where(_PARTS.c.upload == id).returning(_PARTS.c.file)
    files = {str(row.file) for row in connection.execute(gone)}
    connection.execute(delete(_UPLOADS).where(_UPLOADS.c.id == id))
    return files


def _upload(row: Row[tuple[object, ...]]) -> Upload:
    values = dict(row._mapping)
    described = msgspec.json.decode(values.pop("description"), type=Description)
    return Upload(**values, description=described)


def _part(row: Row[tuple[object, ...]]) -> Part:
    values = dict(row._mapping)
    del values["upload"]
    return Part(**values)
