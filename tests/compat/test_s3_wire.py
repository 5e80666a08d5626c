"""What S3 clients send on the wire and boto3 over plain HTTP does not: chunks, trailers, lies."""

import base64
import hashlib
import hmac
import http.client
import zlib
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import anycrc
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from s3_rig import KEY, Door, listening

SECRET = f"secret of {KEY.id}"
TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door that asks for a key, and a bucket."""
    with listening(tmp_path_factory.mktemp("s3"), [KEY]) as found:
        found.client().create_bucket(Bucket="models")
        yield found


@pytest.fixture(scope="module")
def open_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door without keys, and a bucket."""
    with listening(tmp_path_factory.mktemp("s3")) as found:
        found.client().create_bucket(Bucket="models")
        yield found


def sent(
    door: Door, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Send a request as it is; return status, headers and body."""
    connection = http.client.HTTPConnection(urlsplit(door.url).netloc, timeout=20)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, told, answer.read()
    finally:
        connection.close()


class _Auth(S3SigV4Auth):
    """botocore's own signature, over the payload's word that the request carries."""

    word = EMPTY

    def payload(self, request: AWSRequest) -> str:
        """Return what is signed for the body."""
        return self.word


def signed(door: Door, method: str, path: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a signed request."""
    request = AWSRequest(method, f"{door.url}{path}", dict(headers))
    auth = _Auth(Credentials(KEY.id, SECRET), "s3", "us-east-1")
    auth.word = headers.get("X-Amz-Content-SHA256", EMPTY)
    auth.add_auth(request)
    return dict(request.headers.items())


def chunk_headers(word: str, body: bytes, **further: str) -> dict[str, str]:
    """Return the headers that announce a body in chunks."""
    return {
        "X-Amz-Content-SHA256": word,
        "Content-Encoding": "aws-chunked,gzip",
        "x-amz-decoded-content-length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in further.items()},
    }


def chunked(*chunks: bytes, trailer: str = "") -> bytes:
    """Return a body in chunks without signatures."""
    whole = b"".join(f"{len(one):x}\r\n".encode() + one + b"\r\n" for one in chunks)
    return whole + f"0\r\n{trailer}\r\n".encode()


def crc32(body: bytes) -> str:
    """Return the CRC-32 as headers have it."""
    return base64.b64encode(zlib.crc32(body).to_bytes(4)).decode()


def code(body: bytes) -> str:
    """Return an error's code."""
    return body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()


def test_chunks_with_a_checksum_behind_them(door: Door) -> None:
    """As every SDK of AWS sends them over TLS; a wrong checksum leaves no object."""
    body = b"hello, " + b"world" * 20_000
    headers = chunk_headers(TRAILER, body, x_amz_trailer="x-amz-checksum-crc32")
    framed = chunked(
        body[:70_000], body[70_000:], trailer=f"x-amz-checksum-crc32:{crc32(body)}\r\n"
    )
    status, told, _ = sent(
        door, "PUT", "/models/chunks", framed, signed(door, "PUT", "/models/chunks", headers)
    )
    assert (status, told["x-amz-checksum-crc32"]) == (200, crc32(body))
    got = door.client().get_object(Bucket="models", Key="chunks")
    assert (got["Body"].read(), got["ContentEncoding"]) == (body, "gzip")
    for framed, expected in (
        (chunked(body, trailer=f"x-amz-checksum-crc32:{crc32(b'other')}\r\n"), "BadDigest"),
        (chunked(body), "MalformedTrailerError"),
        (chunked(body[:-1], trailer=f"x-amz-checksum-crc32:{crc32(body)}\r\n"), "IncompleteBody"),
        (chunked(body + b"!", trailer=f"x-amz-checksum-crc32:{crc32(body)}\r\n"), "IncompleteBody"),
        (chunked(body)[:-9], "IncompleteBody"),
        (b"not a chunk\r\n", "IncompleteBody"),
    ):
        status, _, answer = sent(
            door, "PUT", "/models/none", framed, signed(door, "PUT", "/models/none", headers)
        )
        assert (status, code(answer)) == (400, expected)
    assert door.client().list_objects_v2(Bucket="models", Prefix="none")["KeyCount"] == 0


def signatures(headers: Mapping[str, str], chunks: list[bytes]) -> Iterator[str]:
    """Yield each chunk's signature, made over the one before it."""
    stamp, scope = headers["X-Amz-Date"], f"{headers['X-Amz-Date'][:8]}/us-east-1/s3/aws4_request"
    key = f"AWS4{SECRET}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    last = headers["Authorization"].rpartition("Signature=")[2]
    for chunk in chunks:
        digest = hashlib.sha256(chunk).hexdigest()
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{stamp}\n{scope}\n{last}\n{EMPTY}\n{digest}"
        last = hmac.digest(key, text.encode(), "sha256").hex()
        yield last


def test_chunks_that_are_signed(door: Door) -> None:
    """One byte changed on the way, and there is no object."""
    chunks = [b"a" * 65_536, b"b" * 1_000, b""]
    body = b"".join(chunks)
    headers = signed(door, "PUT", "/models/signed", chunk_headers(SIGNED, body))
    framed = b"".join(
        f"{len(chunk):x};chunk-signature={proof}\r\n".encode() + chunk + b"\r\n"
        for chunk, proof in zip(chunks, signatures(headers, chunks), strict=True)
    )
    assert sent(door, "PUT", "/models/signed", framed.replace(b"bb", b"bc", 1), headers)[0] == 403
    assert (
        sent(
            door,
            "GET",
            "/models/signed",
            b"",
            signed(door, "GET", "/models/signed", {"X-Amz-Content-SHA256": EMPTY}),
        )[0]
        == 404
    )
    assert sent(door, "PUT", "/models/signed", framed, headers)[0] == 200
    assert door.client().head_object(Bucket="models", Key="signed")["ContentLength"] == len(body)


@pytest.mark.parametrize("algorithm", ["crc32c", "crc64nvme", "sha1", "sha256"])
def test_every_checksum_is_checked(open_door: Door, algorithm: str) -> None:
    """In a header as well; what is not its checksum is refused."""
    body = b"123456789"
    if algorithm.startswith("crc"):
        model = {"crc32c": "CRC32C", "crc64nvme": "CRC64-NVME"}[algorithm]
        digest = anycrc.Model(model).calc(body).to_bytes(4 if algorithm == "crc32c" else 8)
    else:
        digest = hashlib.new(algorithm, body).digest()
    name, value = f"x-amz-checksum-{algorithm}", base64.b64encode(digest).decode()
    status, told, _ = sent(open_door, "PUT", "/models/sum", body, {name: value})
    assert (status, told[name]) == (200, value)
    status, _, answer = sent(open_door, "PUT", "/models/sum", body + b"0", {name: value})
    assert (status, code(answer)) == (400, "BadDigest")
    status, _, answer = sent(open_door, "PUT", "/models/sum", body, {name: "short"})
    assert (status, code(answer)) == (400, "InvalidRequest")


@pytest.mark.parametrize(
    ("headers", "status", "expected"),
    [
        ({"content-md5": base64.b64encode(b"0" * 16).decode()}, 400, "BadDigest"),
        ({"content-md5": "nonsense"}, 400, "InvalidDigest"),
        ({"x-amz-content-sha256": "0" * 64}, 400, "XAmzContentSHA256Mismatch"),
        ({"x-amz-checksum-xxhash64": "AAAA"}, 400, "InvalidRequest"),
        ({"x-amz-meta-large": "x" * 2_100}, 400, "MetadataTooLarge"),
        ({"x-amz-object-lock-mode": "GOVERNANCE"}, 501, "NotImplemented"),
        ({"x-amz-acl": "public-read"}, 501, "NotImplemented"),
        ({"x-amz-expected-bucket-owner": "1"}, 403, "AccessDenied"),
        ({"content-length": str(6 * 1024**3)}, 400, "EntityTooLarge"),
    ],
)
def test_what_a_put_may_not_say(
    open_door: Door, headers: dict[str, str], status: int, expected: str
) -> None:
    """Each is refused with S3's code, and leaves nothing."""
    before = set(open_door.files())
    told, _, answer = sent(open_door, "PUT", "/models/wrong", b"body", headers)
    assert (told, code(answer)) == (status, expected)
    assert set(open_door.files()) == before


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "expected"),
    [
        ("PUT", "/models/%ff", b"", 400, "InvalidURI"),
        ("PUT", "/models/" + "x" * 1_025, b"", 400, "KeyTooLongError"),
        ("POST", "/models?delete", b"<Delete><Object>", 400, "MalformedXML"),
        ("POST", "/models?delete", b"<!DOCTYPE x><Delete/>", 400, "MalformedXML"),
        ("POST", "/models", b"form", 501, "NotImplemented"),
        ("GET", "/models?max-keys=many", b"", 400, "InvalidArgument"),
        ("GET", "/models?list-type=2&continuation-token=%21", b"", 400, "InvalidArgument"),
        ("GET", "/models/x?versionId=7", b"", 400, "InvalidArgument"),
        ("PATCH", "/models/x", b"", 405, "MethodNotAllowed"),
        ("GET", "/absent/x", b"", 404, "NoSuchBucket"),
    ],
)
def test_what_cannot_be_asked(
    open_door: Door, method: str, path: str, body: bytes, status: int, expected: str
) -> None:
    """Each is refused with S3's code."""
    told, headers, answer = sent(open_door, method, path, body)
    assert (told, code(answer)) == (status, expected)
    assert headers["x-amz-request-id"] in answer.decode()


def test_a_body_that_nothing_vouches_for_needs_to_come_from_this_machine(door: Door) -> None:
    """Over plain HTTP anybody in between could change it: here it comes by loopback."""
    headers = signed(door, "PUT", "/models/unsigned", {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    assert sent(door, "PUT", "/models/unsigned", b"x", headers)[0] == 200


def test_web_pages_have_no_errand_at_a_door_without_keys(open_door: Door) -> None:
    """As at every other door."""
    status, _, answer = sent(
        open_door, "PUT", "/models/evil", b"x", {"Origin": "http://evil.example"}
    )
    assert (status, code(answer)) == (403, "AccessDenied")


def test_who_holds_the_body_back_and_is_refused_finds_the_connection_closed(door: Door) -> None:
    """What it sends next is no body: botocore keeps the body and sends another request."""
    headers = {"Expect": "100-continue", "Content-Length": "5"}
    status, told, _ = sent(door, "PUT", "/models/x", b"", headers)
    assert (status, told["connection"]) == (403, "close")


def test_buckets_in_the_hosts_name_are_refused(open_door: Door) -> None:
    """Else ``PUT /key`` would make a bucket of that name."""
    port = urlsplit(open_door.url).port
    headers = {"Host": f"models.localhost:{port}"}
    status, _, answer = sent(open_door, "PUT", "/key", b"", headers)
    assert (status, code(answer)) == (501, "NotImplemented")
