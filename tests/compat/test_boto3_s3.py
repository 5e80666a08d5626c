"""boto3's S3 client, unmodified, over TCP: buckets, objects, lists, parts, copies, conditions."""

import base64
import hashlib
import io
import os
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError, WaiterError
from s3_rig import KEY, Door, listening, told

MIB = 1024**2


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door that asks for a key."""
    with listening(tmp_path_factory.mktemp("s3"), [KEY]) as found:
        yield found


@pytest.fixture(scope="module")
def client(door: Door) -> Any:
    """A client of it, and a bucket."""
    made = door.client()
    made.create_bucket(Bucket="models")
    return made


def test_buckets(client: Any) -> None:
    """Made, found, listed, and deleted once they are empty."""
    client.create_bucket(Bucket="first.bucket")
    client.head_bucket(Bucket="first.bucket")
    assert client.get_bucket_location(Bucket="first.bucket")["LocationConstraint"] is None
    listed = client.list_buckets()
    assert {"first.bucket", "models"} <= {one["Name"] for one in listed["Buckets"]}
    assert listed["Owner"]["ID"] == "123456789012"
    with pytest.raises(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket="first.bucket")
    client.put_object(Bucket="first.bucket", Key="k", Body=b"")
    with pytest.raises(ClientError) as error:
        client.delete_bucket(Bucket="first.bucket")
    assert told(error.value) == (409, "BucketNotEmpty")
    client.delete_object(Bucket="first.bucket", Key="k")
    client.delete_bucket(Bucket="first.bucket")
    with pytest.raises(ClientError) as error:
        client.head_bucket(Bucket="first.bucket")
    assert told(error.value) == (404, "404")
    with pytest.raises(client.exceptions.NoSuchBucket):
        client.list_objects_v2(Bucket="first.bucket")


@pytest.mark.parametrize(
    "name", ["endpoints", "metrics", "2015-03-31", "Models", "a..b", "1.2.3.4"]
)
def test_names_that_no_bucket_may_have(client: Any, name: str) -> None:
    """Nor those of other doors' paths, and the reason is told."""
    with pytest.raises(ClientError) as error:
        client.create_bucket(Bucket=name)
    assert told(error.value) == (400, "InvalidBucketName")
    if name in ("endpoints", "metrics", "2015-03-31"):
        assert f"/{name} belongs to another API" in error.value.response["Error"]["Message"]


def test_an_object_comes_back_as_it_was_put(client: Any) -> None:
    """With all its headers and metadata."""
    expires = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    put = client.put_object(
        Bucket="models",
        Key="ü/a b+c%20//../x?y#",
        Body=b"hello",
        ContentType="text/plain",
        ContentEncoding="gzip",
        CacheControl="no-store",
        ContentDisposition="inline",
        ContentLanguage="de",
        Expires=expires,
        Metadata={"Who": "me", "x-y": "z"},
    )
    etag = f'"{hashlib.md5(b"hello").hexdigest()}"'
    assert put["ETag"] == etag
    got = client.get_object(Bucket="models", Key="ü/a b+c%20//../x?y#", ChecksumMode="ENABLED")
    assert got["Body"].read() == b"hello"
    assert got["ContentType"] == "text/plain"
    assert (got["ContentEncoding"], got["CacheControl"]) == ("gzip", "no-store")
    assert (got["ContentDisposition"], got["ContentLanguage"]) == ("inline", "de")
    assert got["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"
    assert got["Metadata"] == {"who": "me", "x-y": "z"}
    assert got["ChecksumCRC32"] == base64.b64encode(zlib.crc32(b"hello").to_bytes(4)).decode()
    assert got["ChecksumType"] == "FULL_OBJECT"
    head = client.head_object(Bucket="models", Key="ü/a b+c%20//../x?y#")
    assert (head["ContentLength"], head["ETag"]) == (5, etag)
    assert abs(head["LastModified"] - datetime.now(UTC)) < timedelta(minutes=1)
    shown = client.get_object(
        Bucket="models", Key="ü/a b+c%20//../x?y#", ResponseContentType="text/html"
    )
    assert shown["ContentType"] == "text/html"


def test_what_is_not_there(client: Any) -> None:
    """Is told with S3's codes; to delete it is no error."""
    with pytest.raises(client.exceptions.NoSuchKey):
        client.get_object(Bucket="models", Key="absent")
    with pytest.raises(ClientError) as error:
        client.head_object(Bucket="models", Key="absent")
    assert told(error.value) == (404, "404")
    with pytest.raises(client.exceptions.NoSuchBucket):
        client.put_object(Bucket="absent", Key="k", Body=b"x")
    client.delete_object(Bucket="models", Key="absent")
    with pytest.raises(client.exceptions.NoSuchUpload):
        client.abort_multipart_upload(Bucket="models", Key="k", UploadId="none")


def test_ranges(client: Any) -> None:
    """From, to, the last bytes; behind the end there is nothing."""
    body = bytes(range(256)) * 8_192
    client.put_object(Bucket="models", Key="range", Body=body)

    def get(wanted: str) -> tuple[bytes, str]:
        got = client.get_object(Bucket="models", Key="range", Range=wanted)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        return got["Body"].read(), got["ContentRange"]

    size = len(body)
    assert get("bytes=0-0") == (body[:1], f"bytes 0-0/{size}")
    assert get("bytes=1000000-") == (body[1_000_000:], f"bytes 1000000-{size - 1}/{size}")
    assert get("bytes=-7") == (body[-7:], f"bytes {size - 7}-{size - 1}/{size}")
    assert get("bytes=5-99999999") == (body[5:], f"bytes 5-{size - 1}/{size}")
    with pytest.raises(ClientError) as error:
        get(f"bytes={size}-")
    assert told(error.value) == (416, "InvalidRange")


def test_conditions(client: Any) -> None:
    """On reading, writing and deleting."""
    etag = client.put_object(Bucket="models", Key="c", Body=b"one")["ETag"]
    now = datetime.now(UTC)
    get = {"Bucket": "models", "Key": "c"}
    assert client.get_object(**get, IfMatch=etag)["ETag"] == etag
    assert client.get_object(**get, IfModifiedSince=now - timedelta(days=1))["ETag"] == etag
    for wrong, expected in (
        ({"IfMatch": '"other"'}, 412),
        ({"IfUnmodifiedSince": now - timedelta(days=1)}, 412),
        ({"IfNoneMatch": etag}, 304),
        ({"IfModifiedSince": now + timedelta(seconds=5)}, 304),
    ):
        with pytest.raises(ClientError) as error:
            client.get_object(**get, **wrong)
        assert told(error.value)[0] == expected
    with pytest.raises(ClientError) as error:
        client.put_object(**get, Body=b"two", IfNoneMatch="*")
    assert told(error.value) == (412, "PreconditionFailed")
    with pytest.raises(ClientError) as error:
        client.put_object(**get, Body=b"two", IfMatch='"other"')
    assert told(error.value) == (412, "PreconditionFailed")
    with pytest.raises(ClientError) as error:
        client.put_object(Bucket="models", Key="absent", Body=b"two", IfMatch=etag)
    assert told(error.value) == (404, "NoSuchKey")
    client.put_object(Bucket="models", Key="new", Body=b"two", IfNoneMatch="*")
    client.put_object(**get, Body=b"two", IfMatch=etag)
    with pytest.raises(ClientError) as error:
        client.delete_object(**get, IfMatch=etag)
    assert told(error.value) == (412, "PreconditionFailed")


def test_lists(client: Any) -> None:
    """In the order of the keys' bytes, by prefix and delimiter, page by page."""
    client.create_bucket(Bucket="lists")
    keys = ["a/1", "a/2", "a/b/3", "b", "c d", "ä", "z\x01", "\U0001f600", "A", "a+b"]
    for key in keys:
        client.put_object(Bucket="lists", Key=key, Body=b"x")
    ordered = sorted(keys, key=str.encode)
    for name in ("list_objects", "list_objects_v2"):
        pages = client.get_paginator(name).paginate(
            Bucket="lists", PaginationConfig={"PageSize": 3}
        )
        found = [one["Key"] for page in pages for one in page.get("Contents", [])]
        assert found == ordered, name
        top = client.get_paginator(name).paginate(
            Bucket="lists", Delimiter="/", PaginationConfig={"PageSize": 2}
        )
        pages = list(top)
        assert [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])] == ["a/"]
        found = [one["Key"] for page in pages for one in page.get("Contents", [])]
        assert found == [key for key in ordered if not key.startswith("a/")]
        below = getattr(client, name)(Bucket="lists", Prefix="a/", Delimiter="/")
        assert [one["Key"] for one in below["Contents"]] == ["a/1", "a/2"]
        assert below["CommonPrefixes"] == [{"Prefix": "a/b/"}]
    behind = client.list_objects_v2(Bucket="lists", StartAfter="b", MaxKeys=2)
    assert [one["Key"] for one in behind["Contents"]] == ["c d", "z\x01"]
    assert (behind["KeyCount"], behind["IsTruncated"], behind["StartAfter"]) == (2, True, "b")
    assert client.list_objects_v2(Bucket="lists", MaxKeys=0)["KeyCount"] == 0


def test_objects_are_deleted_together(client: Any) -> None:
    """Each is told, unless quiet; what was not there counts as deleted."""
    client.create_bucket(Bucket="many")
    for key in ("a", "b & <c>", "d"):
        client.put_object(Bucket="many", Key=key, Body=b"x")
    wanted = [{"Key": "a"}, {"Key": "b & <c>"}, {"Key": "absent"}]
    gone = client.delete_objects(Bucket="many", Delete={"Objects": wanted})
    assert [one["Key"] for one in gone["Deleted"]] == ["a", "b & <c>", "absent"]
    quiet = {"Objects": [{"Key": "d"}], "Quiet": True}
    assert "Deleted" not in client.delete_objects(Bucket="many", Delete=quiet)
    assert client.list_objects_v2(Bucket="many")["KeyCount"] == 0


def test_copies_share_their_bytes(client: Any, door: Door) -> None:
    """A copy has the metadata of its source, or its own; it outlives its source."""
    body = os.urandom(100_000)
    client.put_object(Bucket="models", Key="src ü", Body=body, Metadata={"a": "b"})
    before = {path.stat().st_ino for path in door.files()}
    copied = client.copy_object(
        Bucket="models", Key="dst", CopySource={"Bucket": "models", "Key": "src ü"}
    )
    assert copied["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert {path.stat().st_ino for path in door.files()} == before
    client.copy_object(
        Bucket="models",
        Key="own",
        CopySource="models/dst",
        Metadata={"c": "d"},
        ContentType="text/x",
        MetadataDirective="REPLACE",
    )
    client.delete_object(Bucket="models", Key="src ü")
    got = client.get_object(Bucket="models", Key="dst")
    assert (got["Body"].read(), got["Metadata"]) == (body, {"a": "b"})
    own = client.head_object(Bucket="models", Key="own")
    assert (own["Metadata"], own["ContentType"]) == ({"c": "d"}, "text/x")
    with pytest.raises(ClientError) as error:
        client.copy_object(Bucket="models", Key="dst", CopySource="models/dst")
    assert told(error.value) == (400, "InvalidRequest")
    with pytest.raises(ClientError) as error:
        client.copy_object(
            Bucket="models", Key="x", CopySource="models/dst", CopySourceIfMatch='"no"'
        )
    assert told(error.value) == (412, "PreconditionFailed")


def test_files_go_up_and_down_in_parts(client: Any, tmp_path: Path) -> None:
    """With s3transfer, as ``upload_file`` and ``download_file`` do it; waiters see it."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(17 * MIB + 3))
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    client.upload_file(
        str(source), "models", "large", Config=config, ExtraArgs={"Metadata": {"a": "b"}}
    )
    client.get_waiter("object_exists").wait(Bucket="models", Key="large")
    head = client.head_object(Bucket="models", Key="large", ChecksumMode="ENABLED")
    assert head["ETag"].endswith('-4"')
    assert head["Metadata"] == {"a": "b"}
    assert head["ChecksumCRC32"]
    client.download_file("models", "large", str(target), Config=config)
    assert target.read_bytes() == source.read_bytes()
    part = client.get_object(Bucket="models", Key="large", Range=f"bytes={5 * MIB - 2}-{10 * MIB}")
    assert part["Body"].read() == source.read_bytes()[5 * MIB - 2 : 10 * MIB + 1]
    client.copy({"Bucket": "models", "Key": "large"}, "models", "large copy", Config=config)
    client.download_file("models", "large copy", str(target), Config=config)
    assert target.read_bytes() == source.read_bytes()
    with pytest.raises(WaiterError):
        client.get_waiter("object_not_exists").wait(
            Bucket="models", Key="large", WaiterConfig={"Delay": 0, "MaxAttempts": 1}
        )


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("SHA256", "COMPOSITE"), ("SHA1", None)],
)
def test_an_upload_in_parts(client: Any, door: Door, algorithm: str, kind: str | None) -> None:
    """Parts may come in any order, and again; the checksum is that of the parts or of all."""
    where = {"Bucket": "models", "Key": f"parts {algorithm} {kind}"}
    kinds = {} if kind is None else {"ChecksumType": kind}
    begun = client.create_multipart_upload(**where, ChecksumAlgorithm=algorithm, **kinds)
    where["UploadId"] = begun["UploadId"]
    field = f"Checksum{algorithm}"
    bodies = {2: os.urandom(5 * MIB), 1: os.urandom(5 * MIB), 7: b"end"}
    client.upload_part(**where, PartNumber=1, Body=b"old", ChecksumAlgorithm=algorithm)
    parts = []
    for number, body in bodies.items():
        put = client.upload_part(**where, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": put["ETag"], field: put[field]})
    listed = client.list_parts(**where, MaxParts=2)
    assert [one["PartNumber"] for one in listed["Parts"]] == [1, 2]
    assert listed["IsTruncated"]
    uploads = client.list_multipart_uploads(Bucket="models", Prefix=where["Key"])["Uploads"]
    assert [one["UploadId"] for one in uploads] == [where["UploadId"]]
    with pytest.raises(ClientError) as error:
        client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert told(error.value) == (400, "InvalidPartOrder")
    parts.sort(key=lambda part: part["PartNumber"])
    wrong = [{**parts[0], "ETag": '"00"'}, *parts[1:]]
    with pytest.raises(ClientError) as error:
        client.complete_multipart_upload(**where, MultipartUpload={"Parts": wrong})
    assert told(error.value) == (400, "InvalidPart")
    done = client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    whole = bodies[1] + bodies[2] + bodies[7]
    if kind == "FULL_OBJECT":
        assert done[field] == base64.b64encode(zlib.crc32(whole).to_bytes(4)).decode()
    else:
        assert done[field].endswith("-3")
    key = where["Key"]
    assert client.get_object(Bucket="models", Key=key)["Body"].read() == whole
    client.delete_object(Bucket="models", Key=key)


def test_completing_again_is_told_again_while_the_object_stands(client: Any) -> None:
    """An SDK that missed the answer asks again, and must not take the upload for lost."""
    where = {"Bucket": "models", "Key": "completed twice"}
    upload = {**where, "UploadId": client.create_multipart_upload(**where)["UploadId"]}
    etag = client.upload_part(**upload, PartNumber=1, Body=b"x")["ETag"]
    parts = {"MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": etag}]}}

    first = client.complete_multipart_upload(**upload, **parts)
    assert client.complete_multipart_upload(**upload, **parts)["ETag"] == first["ETag"]

    for other in ('"00"', etag.replace(etag[1], "z"), "é"):
        wrong = {"MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": other}]}}
        with pytest.raises(client.exceptions.NoSuchUpload):
            client.complete_multipart_upload(**upload, **wrong)
    client.put_object(**where, Body=b"x")
    with pytest.raises(client.exceptions.NoSuchUpload):
        client.complete_multipart_upload(**upload, **parts)
    client.delete_object(**where)


def test_an_upload_that_is_aborted_leaves_nothing(client: Any, door: Door) -> None:
    """And small parts are refused when they are put together."""
    before = set(door.files())
    where = {"Bucket": "models", "Key": "aborted"}
    where["UploadId"] = client.create_multipart_upload(**where)["UploadId"]
    parts = [
        {"PartNumber": n, "ETag": client.upload_part(**where, PartNumber=n, Body=b"x")["ETag"]}
        for n in (1, 2)
    ]
    with pytest.raises(ClientError) as error:
        client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert told(error.value) == (400, "EntityTooSmall")
    client.abort_multipart_upload(**where)
    assert set(door.files()) == before
    with pytest.raises(client.exceptions.NoSuchUpload):
        client.upload_part(**where, PartNumber=1, Body=b"x")


def fetched(url: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """Return status and body of a plain request."""
    request = urllib.request.Request(url, body, headers, method="GET" if body is None else "PUT")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_urls(door: Door, client: Any, version: str) -> None:
    """Good for those who know no key, until they expire; for what was signed only."""
    signer = door.client(signature_version=version)
    where = {"Bucket": "models", "Key": f"presigned ü/{version}"}
    put = signer.generate_presigned_url("put_object", where, ExpiresIn=60)
    assert fetched(put, b"by url", **{"Content-Type": ""})[0] == 200
    get = signer.generate_presigned_url(
        "get_object", {**where, "ResponseContentType": "text/x"}, ExpiresIn=60
    )
    assert fetched(get) == (200, b"by url")
    status, body = fetched(put, None)
    assert (status, b"SignatureDoesNotMatch" in body) == (403, True)
    status, body = fetched(get.replace("presigned", "other"))
    assert (status, b"SignatureDoesNotMatch" in body) == (403, True)
    late = signer.generate_presigned_url("get_object", where, ExpiresIn=-10)
    if version == "s3":
        status, body = fetched(late)
        assert (status, b"expired" in body) == (403, True)
    forged = door.client(signature_version=version, secret="guessed")
    status, body = fetched(forged.generate_presigned_url("get_object", where))
    assert (status, b"SignatureDoesNotMatch" in body) == (403, True)


def test_who_has_no_key_is_refused(door: Door) -> None:
    """With S3's codes, and before the body is asked for."""
    url = f"{door.url}/models/x"
    status, body = fetched(url)
    assert (status, b"<Code>AccessDenied</Code>" in body) == (403, True)
    for wrong, code in (
        (door.client(key="nobody"), "InvalidAccessKeyId"),
        (door.client(secret="no"), "SignatureDoesNotMatch"),
    ):
        with pytest.raises(ClientError) as error:
            wrong.put_object(Bucket="models", Key="x", Body=io.BytesIO(b"x" * MIB))
        assert told(error.value) == (403, code)


def test_habits(client: Any) -> None:
    """What is not here is told as AWS tells it; what would change it is refused by name."""
    assert "Status" not in client.get_bucket_versioning(Bucket="models")
    assert client.get_bucket_acl(Bucket="models")["Grants"][0]["Permission"] == "FULL_CONTROL"
    with pytest.raises(ClientError) as error:
        client.get_bucket_policy(Bucket="models")
    assert told(error.value) == (404, "NoSuchBucketPolicy")
    client.put_object(Bucket="models", Key="habit", Body=b"x")
    assert client.get_object_tagging(Bucket="models", Key="habit")["TagSet"] == []
    for refused, named in (
        (
            lambda: client.put_bucket_versioning(
                Bucket="models", VersioningConfiguration={"Status": "Enabled"}
            ),
            "versioning",
        ),
        (
            lambda: client.put_object(Bucket="models", Key="x", Body=b"", Tagging="a=b"),
            "x-amz-tagging",
        ),
        (
            lambda: client.put_object(Bucket="models", Key="x", Body=b"", StorageClass="GLACIER"),
            "GLACIER",
        ),
        (
            lambda: client.put_object(
                Bucket="models",
                Key="x",
                Body=b"",
                ServerSideEncryption="aws:kms",
                SSEKMSKeyId="mine",
            ),
            "x-amz-server-side-encryption-aws-kms-key-id",
        ),
        (lambda: client.list_object_versions(Bucket="models"), "versions"),
    ):
        with pytest.raises(ClientError) as error:
            refused()
        assert told(error.value) == (501, "NotImplemented")
        assert named in error.value.response["Error"]["Message"]
