"""Bodies on their way in: their framing taken off, and all that vouches for them checked."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import sha256

from starlette.requests import ClientDisconnect

from coldspark.doors.aws.s3.aws_chunked import AwsChunkedBody
from coldspark.doors.aws.s3.checksums import algorithm_named, decoded, digest_of, encoded, size_of
from coldspark.doors.aws.s3.errors import S3Error
from coldspark.doors.aws.s3.request import S3Request
from coldspark.errors import BodyTooLarge
from coldspark.http.auth.s3_signatures import STREAMED_TRAILER
from coldspark.objects.body_files import Hasher

PUT_BYTES_MAX = 5 * 1024**3
"""Of one body, as S3 has it; larger objects come in parts."""
DOCUMENT_BYTES_MAX = 4 * 1024**2
_CHECKSUM = "x-amz-checksum-"
_NO_ALGORITHM = ("algorithm", "mode", "type")


class IncomingBody:
    """The body of one call."""

    def __init__(self, call: S3Request, *, algorithm: str | None = None) -> None:
        """``algorithm``: of the checksum that is wanted even if the client gives none."""
        self._headers = call.headers
        self._payload_hash = call.proof.payload_hash
        self._size_bytes = _declared_size(call)
        self._seen_bytes = 0
        self._sha256 = None if self._payload_hash is None else sha256()
        self._stated = _stated_checksum(call)
        self._wanted = algorithm
        names = [self._stated[0]] if self._stated else []
        if algorithm is not None and algorithm not in names:
            names.append(algorithm)
        self._digests = {name: digest_of(name) for name in names}
        self._chunked: AwsChunkedBody | None = None
        self._pieces = _pieces(call)
        if _is_chunked(call):
            has_trailer = call.headers.get("x-amz-content-sha256") == STREAMED_TRAILER
            self._chunked = AwsChunkedBody(self._pieces, call.proof.chain, has_trailer=has_trailer)

    @property
    def hashers(self) -> Sequence[Hasher]:
        """Return what must hear of every byte."""
        return [*self._digests.values(), *([] if self._sha256 is None else [self._sha256])]

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body. Raises S3Error and AuthRefused."""
        source = self._pieces if self._chunked is None else self._chunked.blocks()
        async for piece in source:
            self._seen_bytes += len(piece)
            if self._size_bytes is not None and self._seen_bytes > self._size_bytes:
                raise S3Error("IncompleteBody", "The body is longer than its headers say.")
            yield piece

    def check(self, md5: bytes) -> None:
        """Check the whole body against all that was said of it. Raises S3Error."""
        if self._size_bytes is not None and self._seen_bytes != self._size_bytes:
            raise S3Error(
                "IncompleteBody",
                f"The body has {self._seen_bytes} bytes, not the {self._size_bytes} that its"
                " headers say.",
            )
        if self._sha256 is not None and self._sha256.hexdigest() != self._payload_hash:
            raise S3Error(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        stated = self._headers.get("content-md5")
        if stated is not None and decoded(stated, 16, "content-md5") != md5:
            raise S3Error("BadDigest", "The Content-MD5 you specified did not match what came.")
        self._check_checksum()

    @property
    def checksum(self) -> tuple[str, str] | None:
        """Return the algorithm and value of the body's checksum, once it is read."""
        name = self._wanted or (self._stated[0] if self._stated else None)
        return None if name is None else (name, encoded(self._digests[name].digest()))

    def _check_checksum(self) -> None:
        if self._stated is None:
            return
        name, value = self._stated
        header = f"{_CHECKSUM}{name}"
        if value is None:
            value = self._chunked.trailer.get(header) if self._chunked is not None else None
            if value is None:
                raise S3Error("MalformedTrailerError", f"The trailer lacks {header}.")
        if decoded(value, size_of(name), header) != self._digests[name].digest():
            raise S3Error("BadDigest", f"The {name.upper()} you specified did not match what came.")


async def read_document(call: S3Request) -> bytes:
    """Read a short body whole, and check it. Raises S3Error and BodyTooLarge."""
    incoming = IncomingBody(call)
    pieces: list[bytes] = []
    size = 0
    md5 = hashlib.md5(usedforsecurity=False)
    async for piece in incoming.chunks():
        size += len(piece)
        if size > DOCUMENT_BYTES_MAX:
            raise BodyTooLarge(f"The document is over the limit of {DOCUMENT_BYTES_MAX} bytes.")
        for hasher in (md5, *incoming.hashers):
            hasher.update(piece)
        pieces.append(piece)
    incoming.check(md5.digest())
    return b"".join(pieces)


def _declared_size(call: S3Request) -> int | None:
    name = "x-amz-decoded-content-length" if _is_chunked(call) else "content-length"
    value = call.headers.get(name)
    if value is None:
        if "transfer-encoding" in call.headers and not _is_chunked(call):
            return None
        raise S3Error("MissingContentLength", f"You must provide the {name} HTTP header.", 411)
    if not (value.isascii() and value.isdecimal() and len(value) < 20):
        raise S3Error("InvalidArgument", f"{name} is {value[:40]!r}: it must be a number.")
    if int(value) > PUT_BYTES_MAX:
        raise S3Error(
            "EntityTooLarge",
            f"The body has {value} bytes; at most {PUT_BYTES_MAX} come in one: send it in parts.",
        )
    return int(value)


def _is_chunked(call: S3Request) -> bool:
    encodings = call.headers.get("content-encoding", "").replace(" ", "").split(",")
    is_streamed = call.headers.get("x-amz-content-sha256", "").startswith("STREAMING-")
    return is_streamed or "aws-chunked" in encodings


def stored_encoding(headers: Mapping[str, str]) -> str | None:
    """Return the content encoding without that of the way here."""
    encodings = [one.strip() for one in headers.get("content-encoding", "").split(",")]
    return ",".join(one for one in encodings if one and one != "aws-chunked") or None


async def _pieces(call: S3Request) -> AsyncIterator[bytes]:
    try:
        async for piece in call.request.stream():
            yield piece
    except ClientDisconnect:
        raise S3Error("IncompleteBody", "The caller hung up before the body's end.") from None


def _stated_checksum(call: S3Request) -> tuple[str, str | None] | None:
    """Return the checksum that the client gives: its algorithm, and its value unless it follows."""
    stated: list[tuple[str, str | None]] = [
        (algorithm_named(name[len(_CHECKSUM) :]), value)
        for name, value in call.headers.items()
        if name.startswith(_CHECKSUM) and name[len(_CHECKSUM) :] not in _NO_ALGORITHM
    ]
    trailers = [word.strip().lower() for word in call.headers.get("x-amz-trailer", "").split(",")]
    for word in filter(None, trailers):
        if not word.startswith(_CHECKSUM):
            raise S3Error("InvalidRequest", f"x-amz-trailer: {word[:80]!r} is not known here.")
        stated.append((algorithm_named(word[len(_CHECKSUM) :]), None))
    if len(stated) > 1:
        raise S3Error(
            "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple were sent."
        )
    if not stated and (named := call.headers.get("x-amz-sdk-checksum-algorithm")):
        algorithm_named(named)
    return stated[0] if stated else None
