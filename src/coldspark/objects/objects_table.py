"""The rows of buckets and objects: functions that run in the database's thread, in a transaction.

Keys are compared as SQLite compares text: by their UTF-8 bytes, which is S3's order.
"""

from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, Row, Select, delete, insert, select, union_all

from coldspark.database import schema
from coldspark.objects.records import (
    BucketNotEmpty,
    Condition,
    ConditionFailed,
    Description,
    LocalBucket,
    LocalObject,
    NoSuchBucket,
    NoSuchKey,
    Piece,
)

_BUCKETS, _OBJECTS, _PIECES = schema.buckets, schema.objects, schema.pieces
_PARTS, _UPLOADS = schema.parts, schema.uploads
_COLUMNS = ("bucket", "key", "body", "size_bytes", "etag", "modified_ms")
_BATCH_ROWS = 32
_LAST = chr(0x10FFFF)
_BEFORE_SURROGATES, _AFTER_SURROGATES = 0xD7FF, 0xE000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Objects and common prefixes in the order of their keys."""

    objects: tuple[LocalObject, ...]
    prefixes: tuple[str, ...]
    next_after: str | None
    """Where the next page begins: behind this key, or all keys with this prefix. None: the end."""


def find_buckets(connection: Connection) -> list[LocalBucket]:
    """Return all buckets, by name."""
    rows = connection.execute(select(_BUCKETS).order_by(_BUCKETS.c.name))
    return [LocalBucket(**row._mapping) for row in rows]


def find_bucket(connection: Connection, name: str) -> LocalBucket | None:
    """Return a bucket."""
    row = connection.execute(select(_BUCKETS).where(_BUCKETS.c.name == name)).first()
    return None if row is None else LocalBucket(**row._mapping)


def create_bucket(connection: Connection, name: str, now_ms: int) -> bool:
    """Create a bucket; False: there is one."""
    if find_bucket(connection, name) is not None:
        return False
    connection.execute(insert(_BUCKETS).values(name=name, created_ms=now_ms))
    return True


def delete_bucket(connection: Connection, name: str) -> list[str]:
    """Delete an empty bucket and the uploads begun in it; return their files."""
    require_bucket(connection, name)
    if connection.execute(select(_OBJECTS.c.key).where(_OBJECTS.c.bucket == name).limit(1)).first():
        raise BucketNotEmpty(
            f"the bucket {name!r} holds objects: delete them first", field="Bucket"
        )
    of_bucket = select(_UPLOADS.c.id).where(_UPLOADS.c.bucket == name)
    files = connection.execute(
        delete(_PARTS).where(_PARTS.c.upload.in_(of_bucket)).returning(_PARTS.c.file)
    )
    freed = [row.file for row in files]
    connection.execute(delete(_UPLOADS).where(_UPLOADS.c.bucket == name))
    connection.execute(delete(_BUCKETS).where(_BUCKETS.c.name == name))
    return freed


def require_bucket(connection: Connection, name: str) -> None:
    """Raise NoSuchBucket unless the bucket is this server's."""
    if find_bucket(connection, name) is None:
        raise NoSuchBucket(f"this server keeps no bucket {name[:100]!r}", field="Bucket")


def find_object(connection: Connection, bucket: str, key: str) -> LocalObject | None:
    """Return an object."""
    condition = (_OBJECTS.c.bucket == bucket) & (_OBJECTS.c.key == key)
    row = connection.execute(select(_OBJECTS).where(condition)).first()
    return None if row is None else _object(row)


def require_object(connection: Connection, bucket: str, key: str) -> LocalObject:
    """Return an object. Raises NoSuchBucket and NoSuchKey."""
    found = find_object(connection, bucket, key)
    if found is None:
        require_bucket(connection, bucket)
        raise NoSuchKey(f"there is no object s3://{bucket}/{key}", field="Key")
    return found


def open_object(
    connection: Connection, bucket: str, key: str
) -> tuple[LocalObject, tuple[Piece, ...]]:
    """Return an object and its pieces. Raises NoSuchBucket and NoSuchKey."""
    found = require_object(connection, bucket, key)
    return found, find_pieces(connection, found.body)


def find_pieces(connection: Connection, body: str) -> tuple[Piece, ...]:
    """Return the pieces of a body."""
    condition = select(_PIECES).where(_PIECES.c.body == body).order_by(_PIECES.c.position)
    return tuple(Piece(row.file, row.size_bytes) for row in connection.execute(condition))


def put_object(
    connection: Connection, new: LocalObject, pieces: tuple[Piece, ...], condition: Condition
) -> str | None:
    """Replace an object; return the old one's body.

    Raises NoSuchBucket, ConditionFailed, and NoSuchKey for a condition on an object that is none.
    """
    require_bucket(connection, new.bucket)
    old = find_object(connection, new.bucket, new.key)
    check(condition, old, f"s3://{new.bucket}/{new.key}")
    if old is not None:
        _forget(connection, old)
    values = {name: getattr(new, name) for name in _COLUMNS}
    encoded = msgspec.json.encode(new.description).decode()
    connection.execute(insert(_OBJECTS).values(**values, description=encoded))
    _insert_pieces(connection, new.body, pieces)
    return None if old is None else old.body


def check(condition: Condition, old: LocalObject | None, url: str) -> None:
    """Raise ConditionFailed or NoSuchKey unless the object is what the caller expects."""
    if condition.is_absent and old is not None:
        raise ConditionFailed(f"{url} is there already", field="If-None-Match")
    if condition.etag is None:
        return
    if old is None:
        raise NoSuchKey(f"there is no object {url}", field="Key")
    if condition.etag not in ("*", old.etag):
        raise ConditionFailed(
            f"{url} has the ETag {old.etag}, not {condition.etag[:100]}", field="If-Match"
        )


def delete_object(
    connection: Connection, bucket: str, key: str, condition: Condition
) -> str | None:
    """Delete an object; return its body, which is still to be dropped."""
    require_bucket(connection, bucket)
    old = find_object(connection, bucket, key)
    if old is None:
        return None
    check(condition, old, f"s3://{bucket}/{key}")
    _forget(connection, old)
    return old.body


def drop_body(connection: Connection, body: str) -> list[str]:
    """Delete the pieces of a body, once nobody reads it; return its files."""
    gone = delete(_PIECES).where(_PIECES.c.body == body).returning(_PIECES.c.file)
    return [row.file for row in connection.execute(gone)]


def drop_dead_bodies(connection: Connection) -> list[str]:
    """Delete the pieces of deleted objects: their readers ended with the last server."""
    living = select(_OBJECTS.c.body)
    gone = delete(_PIECES).where(_PIECES.c.body.not_in(living)).returning(_PIECES.c.file)
    return [row.file for row in connection.execute(gone)]


def replace_pieces(
    connection: Connection, body: str, old: tuple[Piece, ...], new: tuple[Piece, ...]
) -> bool:
    """Replace the pieces of a body; False: it is no longer what it was."""
    if find_pieces(connection, body) != old:
        return False
    connection.execute(delete(_PIECES).where(_PIECES.c.body == body))
    _insert_pieces(connection, body, new)
    return True


def files_with_prefix(connection: Connection, prefix: str) -> set[str]:
    """Return the files that rows refer to and whose names have a prefix."""
    low, high = prefix, after_prefix(prefix)
    assert high is not None
    named = union_all(
        *(
            select(table.c.file).where(table.c.file >= low, table.c.file < high)
            for table in (_PIECES, _PARTS)
        )
    )
    return {row.file for row in connection.execute(named)}


def page(
    connection: Connection, bucket: str, prefix: str, after: str, delimiter: str, limit: int
) -> Page:
    """Return up to ``limit`` objects and common prefixes behind ``after``. Raises NoSuchBucket.

    An ``after`` that ends within a common prefix does not skip that prefix; one that is a common
    prefix itself skips all of it.
    """
    require_bucket(connection, bucket)
    found: list[LocalObject] = []
    prefixes: list[str] = []
    low, is_included = _start(prefix, after, delimiter)
    while low is not None:
        # Few at a time where most of them may be one common prefix.
        rows_left = limit + 1 - len(found) - len(prefixes)
        batch = min(rows_left, _BATCH_ROWS) if delimiter else rows_left
        rows = connection.execute(_between(bucket, prefix, low, is_included, batch)).all()
        jump: str | None = None
        for row in rows:
            if len(found) + len(prefixes) == limit:
                last = max([*prefixes[-1:], *(one.key for one in found[-1:])], default="")
                return _page(found, prefixes, last)
            jump = _common(row.key, prefix, delimiter)
            if jump is not None:
                prefixes.append(jump)
                break
            found.append(_object(row))
        if jump is not None:
            low, is_included = after_prefix(jump), True
        else:
            low, is_included = (rows[-1].key if len(rows) == batch else None), False
    return _page(found, prefixes, None)


def _page(found: list[LocalObject], prefixes: list[str], after: str | None) -> Page:
    return Page(objects=tuple(found), prefixes=tuple(prefixes), next_after=after)


def _start(prefix: str, after: str, delimiter: str) -> tuple[str | None, bool]:
    """Return the first key to list, and whether it may itself be listed."""
    if after < prefix:
        return prefix, True
    if delimiter and after.startswith(prefix) and _common(after, prefix, delimiter) == after:
        return after_prefix(after), True
    return after, after == ""


def _between(
    bucket: str, prefix: str, low: str, is_included: bool, limit: int
) -> Select[tuple[object, ...]]:
    condition = select(_OBJECTS).where(_OBJECTS.c.bucket == bucket)
    condition = condition.where(_OBJECTS.c.key >= low if is_included else _OBJECTS.c.key > low)
    high = after_prefix(prefix)
    if high is not None:
        condition = condition.where(_OBJECTS.c.key < high)
    return condition.order_by(_OBJECTS.c.key).limit(limit)


def _common(key: str, prefix: str, delimiter: str) -> str | None:
    if not delimiter:
        return None
    end = key.find(delimiter, len(prefix))
    return None if end < 0 else key[: end + len(delimiter)]


def after_prefix(prefix: str) -> str | None:
    """Return the least text that is behind all texts with this prefix; None: there is none."""
    trimmed = prefix.rstrip(_LAST)
    if not trimmed:
        return None
    code = ord(trimmed[-1])
    following = _AFTER_SURROGATES if code == _BEFORE_SURROGATES else code + 1
    return trimmed[:-1] + chr(following)


def _forget(connection: Connection, old: LocalObject) -> None:
    condition = (_OBJECTS.c.bucket == old.bucket) & (_OBJECTS.c.key == old.key)
    connection.execute(delete(_OBJECTS).where(condition))


def _insert_pieces(connection: Connection, body: str, pieces: tuple[Piece, ...]) -> None:
    rows = [
        {"body": body, "position": at, "file": piece.file, "size_bytes": piece.size_bytes}
        for at, piece in enumerate(pieces)
    ]
    if rows:
        connection.execute(insert(_PIECES), rows)


def _object(row: Row[tuple[object, ...]]) -> LocalObject:
    values = dict(row._mapping)
    described = msgspec.json.decode(values.pop("description"), type=Description)
    return LocalObject(**values, description=described)
