"""IAM: a role is a name, and whether an action is allowed is what the caller's key says."""

from pathlib import Path

from coldspark.doors.aws.protocol.arns import arn
from coldspark.doors.aws.protocol.model import Bounds, Overlay, Support
from coldspark.doors.aws.protocol.operations import (
    AwsOperation,
    OperationRequest,
    Service,
    Timestamp,
)
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.protocol.shapes import Text
from coldspark.doors.door import DoorDependencies
from coldspark.http.auth.scopes import KeyAction, is_allowed

_MADE_MS = 0
"""Nobody made the role, so its date is the epoch."""
_NOBODY_ASSUMES = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow",'
    '"Principal":{"Service":"sagemaker.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
)
_NO_POLICIES = "there are no policies here: what counts is the key's scopes."
_ONE_PAGE = "all results come at once. Leave it out."
OVERLAY = Overlay(
    service="iam",
    table=Path(__file__).with_name("iam.json"),
    operations={
        "GetRole": "RoleName",
        "SimulatePrincipalPolicy": Support(
            "ActionNames PolicySourceArn",
            refused={
                "ResourceArns": "a key's scopes are looked at without a resource.",
                "CallerArn": "the answer is about the key that asks.",
                "PolicyInputList": _NO_POLICIES,
                "PolicyExclusionList": _NO_POLICIES,
                "PermissionsBoundaryPolicyInputList": _NO_POLICIES,
                "ContextEntries": _NO_POLICIES,
                "ResourcePolicy": _NO_POLICIES,
                "ResourceOwner": _NO_POLICIES,
                "ResourceHandlingOption": _NO_POLICIES,
                "MaxItems": _ONE_PAGE,
                "Marker": _ONE_PAGE,
            },
        ),
    },
    types={
        "ActionNameListType": Bounds(max=200),
        "arnType": Text(r"arn:.+", max=2_048),
    },
)


def open_iam(_: DoorDependencies) -> Service:
    """Return the service: it needs nothing of the server."""
    return Service(
        signing_name="iam",
        query_version="2010-05-08",
        namespace="https://iam.amazonaws.com/doc/2010-05-08/",
        operations={
            "GetRole": AwsOperation(run=_role, shape=OVERLAY.shapes["GetRole"], is_open=True),
            "SimulatePrincipalPolicy": AwsOperation(
                run=_simulate, shape=OVERLAY.shapes["SimulatePrincipalPolicy"], is_open=True
            ),
        },
        invalid_type="ValidationError",
    )


async def _role(asked: OperationRequest) -> Body:
    """GetRole: the SDKs turn a role's name into its ARN with it."""
    name = str(asked.body["RoleName"])
    return {
        "Role": {
            "Path": "/",
            "RoleName": name,
            "RoleId": "AROACOLDSPARKHASNOROLES",
            "Arn": arn("iam", "", f"role/{name}"),
            "CreateDate": Timestamp(_MADE_MS),
            "AssumeRolePolicyDocument": _NOBODY_ASSUMES,
            "Description": "A name only: this server has no roles, what counts is the API key.",
        }
    }


async def _simulate(asked: OperationRequest) -> Body:
    """SimulatePrincipalPolicy: what the caller's own key may do, whatever the role."""
    actions = asked.body["ActionNames"]
    assert isinstance(actions, list)
    return {
        "EvaluationResults": [
            {
                "EvalActionName": str(action),
                "EvalResourceName": "*",
                "EvalDecision": _decision(asked, str(action)),
            }
            for action in actions
        ],
        "IsTruncated": False,
    }


def _decision(asked: OperationRequest, action: str) -> str:
    """Invoking needs one scope, all else the other."""
    wanted = KeyAction.INVOKE if action.startswith("sagemaker:InvokeEndpoint") else KeyAction.DEPLOY
    return "allowed" if is_allowed(asked.key, wanted, None) else "implicitDeny"
