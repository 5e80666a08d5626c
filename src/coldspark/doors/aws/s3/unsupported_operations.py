"""What clients ask by habit of things that are not here: told honestly; and the rest, refused."""

from starlette.responses import Response

from coldspark.doors.aws.protocol.credential_scope import ACCOUNT
from coldspark.doors.aws.s3.buckets import owner
from coldspark.doors.aws.s3.errors import S3Error, not_implemented
from coldspark.doors.aws.s3.request import OWNER, S3Request, xml_response
from coldspark.doors.aws.s3.xml import document, node, text
from coldspark.objects.local_buckets import LocalBuckets

_WORDS = (
    "abac accelerate acl analytics annotation attributes cors encryption intelligent-tiering "
    "inventory legal-hold lifecycle logging metadataAnnotationTable metadataConfiguration "
    "metadataInventoryTable metadataJournalTable metadataTable metrics notification object-lock "
    "ownershipControls policy policyStatus publicAccessBlock renameObject replication "
    "requestPayment restore retention select session tagging torrent versioning versions website"
)
SUBRESOURCES = frozenset(_WORDS.split())
_ABSENT = {
    "cors": "NoSuchCORSConfiguration",
    "encryption": "ServerSideEncryptionConfigurationNotFoundError",
    "lifecycle": "NoSuchLifecycleConfiguration",
    "object-lock": "ObjectLockConfigurationNotFoundError",
    "ownershipControls": "OwnershipControlsNotFoundError",
    "policy": "NoSuchBucketPolicy",
    "publicAccessBlock": "NoSuchPublicAccessBlockConfiguration",
    "replication": "ReplicationConfigurationNotFoundError",
    "tagging": "NoSuchTagSet",
    "website": "NoSuchWebsiteConfiguration",
}
_EMPTY = {
    "accelerate": "AccelerateConfiguration",
    "logging": "BucketLoggingStatus",
    "notification": "NotificationConfiguration",
    "versioning": "VersioningConfiguration",
}


async def answer_unsupported(own: LocalBuckets, call: S3Request, what: str) -> Response:
    """Answer a call about something that buckets and objects here do not have."""
    where = "an object" if call.key else "a bucket"
    if call.method != "GET":
        not_implemented(f"{call.method} ?{what} of {where}", "there is no such setting")
    if call.key:
        await own.find(call.bucket, call.key)
    else:
        await own.require(call.bucket)
    if what == "acl":
        return xml_response(_acl())
    if call.key:
        if what == "tagging":
            return xml_response(document("Tagging", "<TagSet/>"))
    elif what in _ABSENT:
        raise S3Error(_ABSENT[what], f"The bucket has no {what}: there is none here.", 404)
    elif what in _EMPTY:
        return xml_response(document(_EMPTY[what]))
    elif what == "requestPayment":
        return xml_response(document("RequestPaymentConfiguration", text("Payer", "BucketOwner")))
    return not_implemented(f"GET ?{what} of {where}", "there is no such thing")


def _acl() -> bytes:
    """Tell that everything belongs to the one account: keys' scopes say who may."""
    kind = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"'
    grantee = f"<Grantee {kind}>{text('DisplayName', OWNER)}{text('ID', ACCOUNT)}</Grantee>"
    grant = node("Grant", grantee, text("Permission", "FULL_CONTROL"))
    return document("AccessControlPolicy", owner(), node("AccessControlList", grant))
