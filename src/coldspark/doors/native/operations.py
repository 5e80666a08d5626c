"""Every operation of the native API, in the order of its documentation."""

from functools import partial

from coldspark.doors.native import (
    artifacts,
    endpoints,
    jobs,
    keys,
    ledger_pages,
    logs,
    requests,
    server_info,
    shapes,
)
from coldspark.doors.native.coldstart import operations as coldstart
from coldspark.doors.native.coldstart import shapes as coldstart_shapes
from coldspark.doors.native.operation_types import Content, DocumentedReply, Operation, Parameter
from coldspark.http.auth.scopes import KeyAction

_COST_HEADERS = (
    "x-coldspark-request-id",
    "x-coldspark-cost",
    "x-coldspark-cold",
    "x-coldspark-replica",
    "server-timing",
)
_ANY = Content((), "*/*")
_ENDPOINTS, _ENDPOINT = "/v1/endpoints", "/v1/endpoints/{name}"
_JOB = "/v1/jobs/{job}"
_ARTIFACT, _KEYS = "/v1/artifacts/{sha256}", "/v1/keys"

_invocation = partial(
    Operation,
    tag="Invoke",
    scope=KeyAction.INVOKE,
    errors=(404, 413, 415, 424, 429, 500, 502, 503, 504),
    extra_headers=_COST_HEADERS,
)
_of_endpoints = partial(Operation, tag="Endpoints", scope=KeyAction.DEPLOY)
_of_code = partial(Operation, path=_ARTIFACT, tag="Artifacts", scope=KeyAction.DEPLOY)
_of_ledger = partial(Operation, method="GET", tag="Ledger", scope=KeyAction.DEPLOY)
_of_jobs = partial(Operation, tag="Jobs", scope=KeyAction.INVOKE)
_of_keys = partial(Operation, tag="Keys", scope=KeyAction.ADMIN)
_of_server = partial(Operation, method="GET", tag="Server")


def _json(kind: type) -> Content:
    return Content((kind,))


def _ok(description: str, content: type | Content | None = None) -> tuple[DocumentedReply, ...]:
    """Return the one good reply of most operations."""
    return (
        DocumentedReply(200, description, _json(content) if isinstance(content, type) else content),
    )


def _pass_through(method: str) -> Operation:
    return _invocation(
        method=method,
        path=f"{_ENDPOINT}/invoke/{{path}}",
        id=f"{method.lower()}_path_of_endpoint",
        summary=f"{method} a path of a command's own server",
        description="Path and query behind /invoke, headers and body are passed on as they are.",
        body=None if method in ("GET", "HEAD", "DELETE") else _ANY,
        replies=_ok("What the server answered, with its own status", _ANY),
    )


OPERATIONS: tuple[Operation, ...] = (
    _invocation(
        method="POST",
        path=f"{_ENDPOINT}/invoke",
        id="invoke",
        summary="Call an endpoint",
        description=(
            "The body goes to the handler (or the command's invoke path) as it is. An endpoint at "
            "zero wakes. A streamed reply ends in trailers with its cost and time."
        ),
        body=_ANY,
        replies=_ok("What the endpoint answered", _ANY),
    ),
    *(_pass_through(method) for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")),
    _of_endpoints(
        method="GET",
        path=_ENDPOINTS,
        id="list_endpoints",
        summary="List endpoints",
        replies=_ok("All that the key may look at", coldstart_shapes.EndpointsBody),
        run=endpoints.list_endpoints,
    ),
    _of_endpoints(
        method="GET",
        path=_ENDPOINT,
        id="get_endpoint",
        summary="Look at an endpoint",
        description="Looking never wakes anything.",
        replies=_ok("Its variants, replicas and decisions", coldstart_shapes.WarmEndpoint),
        errors=(404,),
        run=endpoints.get_endpoint,
    ),
    _of_endpoints(
        method="PUT",
        path=_ENDPOINT,
        id="put_endpoint",
        summary="Deploy: create or change an endpoint",
        description=(
            "Declarative: the same definition again changes nothing. With dry_run=true the reply "
            "is the plan (PlanBody) and nothing is changed."
        ),
        parameters=(Parameter("dry_run", "Only say what would change", bool, False),),
        body=_json(shapes.DefinitionBody),
        replies=(
            DocumentedReply(
                200,
                "Changed, or as it was; of a dry run the plan",
                Content((coldstart_shapes.DeployedBody, shapes.PlanBody)),
            ),
            DocumentedReply(201, "Created", _json(coldstart_shapes.DeployedBody)),
        ),
        errors=(413, 503),
        run=endpoints.put_endpoint,
    ),
    _of_endpoints(
        method="DELETE",
        path=_ENDPOINT,
        id="delete_endpoint",
        summary="Delete an endpoint",
        description="What waits is refused, what runs may finish; its ledger lines stay.",
        replies=(DocumentedReply(204, "Deleted"),),
        errors=(404,),
        run=endpoints.delete_endpoint,
    ),
    _of_endpoints(
        method="GET",
        path=f"{_ENDPOINT}/coldstart",
        id="get_coldstart",
        summary="Look at an endpoint's cold starts, and what would make them faster",
        description="Looking never wakes anything. Gains are estimates from measured stages.",
        parameters=(Parameter("days", "How many days back, at most 366", int, 7),),
        replies=_ok("Of each variant", coldstart_shapes.ColdstartBody),
        errors=(404,),
        run=coldstart.get_coldstart,
    ),
    _of_endpoints(
        method="GET",
        path=f"{_ENDPOINT}/logs",
        id="get_logs",
        summary="Read what replicas printed",
        description=(
            "With follow=true the reply does not end: one JSON object a line, or server-sent "
            "events where Accept asks for text/event-stream. Empty lines keep it alive."
        ),
        parameters=(
            Parameter("lines", "How many, at most 10000", int, 100),
            Parameter("follow", "Go on as they come", bool, False),
        ),
        replies=_ok("The newest lines, oldest first", shapes.LogsBody),
        errors=(404,),
        run=logs.get_logs,
    ),
    _of_code(
        method="HEAD",
        id="has_artifact",
        summary="Ask whether an archive is here",
        replies=_ok("It is here"),
        errors=(404,),
        run=artifacts.head_artifact,
    ),
    _of_code(
        method="PUT",
        id="put_artifact",
        summary="Upload an archive (.tar.gz)",
        body=Content((), "application/gzip"),
        replies=(DocumentedReply(201, "Stored", _json(shapes.ArtifactBody)),),
        errors=(413,),
        run=artifacts.put_artifact,
    ),
    _of_jobs(
        method="POST",
        path=f"{_ENDPOINT}/jobs",
        id="accept_job",
        summary="Hand in a job: durable, answered later",
        description=(
            "The body goes to the handler as it is, once there is a replica. The reply comes when "
            "the job is on disk; what was accepted survives the server's end."
        ),
        parameters=(
            Parameter("label", "Your own name for it"),
            Parameter("ttl_s", "Seconds that it may wait, at most 604800", int, 21_600),
            Parameter("timeout_s", "Seconds that it may run, at most the endpoint's limit", int),
        ),
        body=_ANY,
        replies=(DocumentedReply(202, "Accepted", _json(shapes.JobBody)),),
        errors=(404, 413, 429, 507),
        run=jobs.accept_job,
    ),
    _of_jobs(
        method="GET",
        path="/v1/jobs",
        id="list_jobs",
        summary="List jobs, newest first",
        scope=KeyAction.DEPLOY,
        parameters=(
            Parameter("endpoint", "Only of this one"),
            Parameter("state", "accepted, running, completed, failed, expired or cancelled"),
            Parameter("limit", "How many, at most 1000", int, 50),
        ),
        replies=_ok("Jobs that wait, run, or have ended", shapes.JobsBody),
        run=jobs.list_jobs,
    ),
    _of_jobs(
        method="GET",
        path=_JOB,
        id="get_job",
        summary="Look at a job",
        replies=_ok("Its state, and how it ended", shapes.JobBody),
        errors=(404,),
        run=jobs.get_job,
    ),
    _of_jobs(
        method="GET",
        path=f"{_JOB}/output",
        id="get_job_output",
        summary="Fetch what the endpoint answered to a job",
        replies=_ok("The answer", _ANY),
        errors=(404, 409),
        run=jobs.get_job_output,
    ),
    _of_jobs(
        method="DELETE",
        path=_JOB,
        id="cancel_job",
        summary="Cancel a job that waits or runs",
        replies=(DocumentedReply(204, "Cancelled"),),
        errors=(404, 409),
        run=jobs.cancel_job,
    ),
    _of_ledger(
        path="/v1/requests",
        id="list_requests",
        summary="List requests: the newest, or the longest",
        parameters=(
            Parameter("endpoint", "Only of this one"),
            Parameter("limit", "How many, at most 1000", int, 50),
            Parameter("sort", f"By one of {', '.join(ledger_pages.ORDERS)}", str, "newest"),
            Parameter("cold", "Only those that waited for a start", bool, False),
            Parameter("since", "First millisecond (epoch) that counts", int),
            Parameter("until", "First millisecond (epoch) that no longer counts", int),
        ),
        replies=_ok("Ledger lines, newest or longest first", shapes.UsagesBody),
        run=requests.list_requests,
    ),
    _of_ledger(
        path="/v1/requests/{request}",
        id="get_request",
        summary="Look at a request: its cost and its waterfall",
        replies=_ok("Its ledger line", coldstart_shapes.RequestBody),
        errors=(404,),
        run=requests.get_request,
    ),
    _of_ledger(
        path="/v1/bill",
        id="get_bill",
        summary="Price a stretch of the ledger",
        parameters=(
            Parameter("endpoint", "Only of this one"),
            Parameter("book", "The price book", str, "own"),
            Parameter("since", "First millisecond (epoch) that counts", int),
            Parameter("until", "First millisecond (epoch) that no longer counts", int),
            Parameter("as_gpu", "Price usage on CPU as if on this type"),
            Parameter("memory", "Bytes of each replica, for books that bill by memory", int),
        ),
        replies=_ok("The bill", dict),
        errors=(404,),
        run=requests.get_bill,
    ),
    _of_keys(
        method="GET",
        path=_KEYS,
        id="list_keys",
        summary="List API keys",
        replies=_ok("The valid ones, without secrets", shapes.KeysBody),
        run=keys.list_keys,
    ),
    _of_keys(
        method="POST",
        path=_KEYS,
        id="create_key",
        summary="Create an API key",
        description="Its secrets are shown this once.",
        body=_json(shapes.NewKeyBody),
        replies=(DocumentedReply(201, "The key", _json(shapes.MadeKeyBody)),),
        run=keys.create_key,
    ),
    _of_keys(
        method="DELETE",
        path=f"{_KEYS}/{{key}}",
        id="revoke_key",
        summary="Revoke an API key, at once",
        replies=(DocumentedReply(204, "Revoked"),),
        errors=(404,),
        run=keys.revoke_key,
    ),
    _of_server(
        path="/v1/doctor",
        id="get_doctor",
        summary="Ask what the server's machine can do",
        scope=KeyAction.DEPLOY,
        replies=_ok("Every check, with its cure", shapes.DoctorBody),
        run=server_info.doctor,
    ),
    _of_server(
        path="/metrics",
        id="get_metrics",
        summary="Read metrics in Prometheus's format",
        scope=KeyAction.DEPLOY,
        description="Wakes nothing and keeps nothing awake.",
        replies=_ok("The metrics", Content((), "text/plain")),
        run=server_info.metrics,
    ),
    _of_server(
        path="/healthz",
        id="get_health",
        summary="Ask whether the server is up",
        replies=_ok("It is", shapes.HealthBody),
        open=server_info.healthz,
    ),
)
