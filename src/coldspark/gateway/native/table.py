"""Every operation of the native API, in the order of its documentation."""

from coldspark.gateway.auth.scopes import Action
from coldspark.gateway.native import artifacts, endpoints, keys, logs, machine, records, schemas
from coldspark.gateway.native.operations import Content, Operation, Parameter, Reply

_COST_HEADERS = (
    "x-coldspark-request-id",
    "x-coldspark-cost",
    "x-coldspark-cold",
    "x-coldspark-replica",
    "server-timing",
)
_ANY = Content((), "*/*")
_ENDPOINTS, _INVOKE, _LEDGER, _SERVER = "Endpoints", "Invoke", "Ledger", "Server"
_CODE, _KEYS = "Artifacts", "Keys"
_INVOKE_ERRORS = (404, 413, 415, 424, 429, 500, 502, 503, 504)
_PASS_THROUGH = "/v1/endpoints/{name}/invoke/{path}"


def _json(kind: type) -> Content:
    return Content((kind,))


def _pass_through(method: str) -> Operation:
    return Operation(
        method=method,
        path=_PASS_THROUGH,
        id=f"{method.lower()}_path_of_endpoint",
        summary=f"{method} a path of a command's own server",
        tag=_INVOKE,
        scope=Action.INVOKE,
        description="Path and query behind /invoke, headers and body are passed on as they are.",
        body=None if method in ("GET", "HEAD", "DELETE") else _ANY,
        replies=(Reply(200, "What the server answered, with its own status", _ANY),),
        errors=_INVOKE_ERRORS,
        extra_headers=_COST_HEADERS,
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/v1/endpoints/{name}/invoke",
        id="invoke",
        summary="Call an endpoint",
        tag=_INVOKE,
        scope=Action.INVOKE,
        description=(
            "The body goes to the handler (or the command's invoke path) as it is. An endpoint at "
            "zero wakes. A streamed reply ends in trailers with its cost and time."
        ),
        body=_ANY,
        replies=(Reply(200, "What the endpoint answered", _ANY),),
        errors=_INVOKE_ERRORS,
        extra_headers=_COST_HEADERS,
    ),
    *(_pass_through(method) for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")),
    Operation(
        method="GET",
        path="/v1/endpoints",
        id="list_endpoints",
        summary="List endpoints",
        tag=_ENDPOINTS,
        scope=Action.DEPLOY,
        replies=(Reply(200, "All that the key may look at", _json(schemas.EndpointsBody)),),
        run=endpoints.list_endpoints,
    ),
    Operation(
        method="GET",
        path="/v1/endpoints/{name}",
        id="get_endpoint",
        summary="Look at an endpoint",
        tag=_ENDPOINTS,
        scope=Action.DEPLOY,
        description="Looking never wakes anything.",
        replies=(Reply(200, "Its variants, replicas and decisions", _json(schemas.EndpointBody)),),
        errors=(404,),
        run=endpoints.get_endpoint,
    ),
    Operation(
        method="PUT",
        path="/v1/endpoints/{name}",
        id="put_endpoint",
        summary="Deploy: create or change an endpoint",
        tag=_ENDPOINTS,
        scope=Action.DEPLOY,
        description=(
            "Declarative: the same definition again changes nothing. With dry_run=true the reply "
            "is the plan (PlanBody) and nothing is changed."
        ),
        parameters=(Parameter("dry_run", "Only say what would change", bool, False),),
        body=_json(schemas.DefinitionBody),
        replies=(
            Reply(
                200,
                "Changed, or as it was; of a dry run the plan",
                Content((schemas.DeployedBody, schemas.PlanBody)),
            ),
            Reply(201, "Created", _json(schemas.DeployedBody)),
        ),
        errors=(413, 503),
        run=endpoints.put_endpoint,
    ),
    Operation(
        method="DELETE",
        path="/v1/endpoints/{name}",
        id="delete_endpoint",
        summary="Delete an endpoint",
        tag=_ENDPOINTS,
        scope=Action.DEPLOY,
        description="What waits is refused, what runs may finish; its ledger lines stay.",
        replies=(Reply(204, "Deleted"),),
        errors=(404,),
        run=endpoints.delete_endpoint,
    ),
    Operation(
        method="GET",
        path="/v1/endpoints/{name}/logs",
        id="get_logs",
        summary="Read what replicas printed",
        tag=_ENDPOINTS,
        scope=Action.DEPLOY,
        description=(
            "With follow=true the reply does not end: one JSON object a line, or server-sent "
            "events where Accept asks for text/event-stream. Empty lines keep it alive."
        ),
        parameters=(
            Parameter("lines", "How many, at most 10000", int, 100),
            Parameter("follow", "Go on as they come", bool, False),
        ),
        replies=(Reply(200, "The newest lines, oldest first", _json(schemas.LogsBody)),),
        errors=(404,),
        run=logs.get_logs,
    ),
    Operation(
        method="HEAD",
        path="/v1/artifacts/{sha256}",
        id="has_artifact",
        summary="Ask whether an archive is here",
        tag=_CODE,
        scope=Action.DEPLOY,
        replies=(Reply(200, "It is here"),),
        errors=(404,),
        run=artifacts.head_artifact,
    ),
    Operation(
        method="PUT",
        path="/v1/artifacts/{sha256}",
        id="put_artifact",
        summary="Upload an archive (.tar.gz)",
        tag=_CODE,
        scope=Action.DEPLOY,
        body=Content((), "application/gzip"),
        replies=(Reply(201, "Stored", _json(schemas.ArtifactBody)),),
        errors=(413,),
        run=artifacts.put_artifact,
    ),
    Operation(
        method="GET",
        path="/v1/requests",
        id="list_requests",
        summary="List the newest requests",
        tag=_LEDGER,
        scope=Action.DEPLOY,
        parameters=(
            Parameter("endpoint", "Only of this one"),
            Parameter("limit", "How many, at most 1000", int, 50),
        ),
        replies=(Reply(200, "Ledger lines, newest first", _json(schemas.UsagesBody)),),
        run=records.list_requests,
    ),
    Operation(
        method="GET",
        path="/v1/requests/{request}",
        id="get_request",
        summary="Look at a request: its cost and its waterfall",
        tag=_LEDGER,
        scope=Action.DEPLOY,
        replies=(Reply(200, "Its ledger line", _json(schemas.UsageBody)),),
        errors=(404,),
        run=records.get_request,
    ),
    Operation(
        method="GET",
        path="/v1/bill",
        id="get_bill",
        summary="Price a stretch of the ledger",
        tag=_LEDGER,
        scope=Action.DEPLOY,
        parameters=(
            Parameter("endpoint", "Only of this one"),
            Parameter("book", "The price book", str, "own"),
            Parameter("since", "First millisecond (epoch) that counts", int),
            Parameter("until", "First millisecond (epoch) that no longer counts", int),
            Parameter("as_gpu", "Price usage on CPU as if on this type"),
        ),
        replies=(Reply(200, "The bill", _json(dict)),),
        errors=(404,),
        run=records.get_bill,
    ),
    Operation(
        method="GET",
        path="/v1/keys",
        id="list_keys",
        summary="List API keys",
        tag=_KEYS,
        scope=Action.ADMIN,
        replies=(Reply(200, "The valid ones, without secrets", _json(schemas.KeysBody)),),
        run=keys.list_keys,
    ),
    Operation(
        method="POST",
        path="/v1/keys",
        id="create_key",
        summary="Create an API key",
        tag=_KEYS,
        scope=Action.ADMIN,
        description="Its secrets are shown this once.",
        body=_json(schemas.NewKeyBody),
        replies=(Reply(201, "The key", _json(schemas.MadeKeyBody)),),
        run=keys.create_key,
    ),
    Operation(
        method="DELETE",
        path="/v1/keys/{key}",
        id="revoke_key",
        summary="Revoke an API key, at once",
        tag=_KEYS,
        scope=Action.ADMIN,
        replies=(Reply(204, "Revoked"),),
        errors=(404,),
        run=keys.revoke_key,
    ),
    Operation(
        method="GET",
        path="/v1/doctor",
        id="get_doctor",
        summary="Ask what the server's machine can do",
        tag=_SERVER,
        scope=Action.DEPLOY,
        replies=(Reply(200, "Every check, with its cure", _json(schemas.DoctorBody)),),
        run=machine.doctor,
    ),
    Operation(
        method="GET",
        path="/metrics",
        id="get_metrics",
        summary="Read metrics in Prometheus's format",
        tag=_SERVER,
        scope=Action.DEPLOY,
        description="Wakes nothing and keeps nothing awake.",
        replies=(Reply(200, "The metrics", Content((), "text/plain")),),
        run=machine.metrics,
    ),
    Operation(
        method="GET",
        path="/healthz",
        id="get_health",
        summary="Ask whether the server is up",
        tag=_SERVER,
        replies=(Reply(200, "It is", _json(schemas.HealthBody)),),
        open=machine.healthz,
    ),
)
