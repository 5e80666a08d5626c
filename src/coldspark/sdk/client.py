"""The client of the native API: deploy, invoke, watch and price endpoints from Python.

from coldspark.sdk import Client

client = Client()                          # $COLDSPARK_URL and $COLDSPARK_KEY, or this machine
answer = client.invoke("embed", {"texts": ["hello"]})
print(answer.json(), answer.cost_dollars, answer.is_cold)
"""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from coldspark.errors import ColdsparkError, TimedOut
from coldspark.sdk.transport import HttpReply, ReplyBroken, Transport

DEFAULT_URL = "http://127.0.0.1:7117"
_ASK_TIMEOUT_S = 60.0
_INVOKE_TIMEOUT_S = 3_600.0
_PAGE_LINES = 1_000
_PAUSE_S, _PAUSE_MAX_S = 0.05, 2.0

Json = dict[str, Any]


class ServerRefused(ColdsparkError):
    """Pass on the server's own error: its code, status, message and log lines."""

    def __init__(self, status: int, code: str, message: str, **details: Any) -> None:
        super().__init__(message, **details)
        self.code = code  # type: ignore[misc]  # the server's, not the class's
        self.http_status = status  # type: ignore[misc]
        self.request_id: str | None = None


class Answer:
    """A reply of an endpoint, with what it cost and where its time went."""

    def __init__(self, reply: HttpReply) -> None:
        self._reply = reply
        self._content: bytes | None = None

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        return self._reply.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Return headers by lower-case name; of a streamed reply, trailers too once it is read."""
        return self._reply.headers

    @property
    def content_type(self) -> str:
        """Return the media type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def content(self) -> bytes:
        """Return the whole body."""
        if self._content is None:
            self._content = self._reply.read()
        return self._content

    @property
    def request_id(self) -> str | None:
        """Return the id under which the request stands in the ledger."""
        return self.headers.get("x-coldspark-request-id")

    @property
    def cost_dollars(self) -> str | None:
        """Return the cost as an exact decimal; of a streamed reply only once it is read."""
        return self.headers.get("x-coldspark-cost")

    @property
    def is_cold(self) -> bool:
        """Return whether the request waited for a start."""
        return self.headers.get("x-coldspark-cold") == "true"

    @property
    def stages_ms(self) -> dict[str, float]:
        """Return milliseconds by stage, and their ``total``."""
        return parse_server_timing(self.headers.get("server-timing", ""))

    def json(self) -> Any:
        """Return the body as JSON. Raises ValueError."""
        return json.loads(self.content)

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes, without storing it."""
        return self._reply.chunks()

    def close(self) -> None:
        """Disconnect: the server cancels what still runs."""
        self._reply.close()


class Client:
    """A client of one server. Methods raise ColdsparkError with the server's code and message."""

    def __init__(self, url: str | None = None, key: str | None = None) -> None:
        url = url or os.environ.get("COLDSPARK_URL") or DEFAULT_URL
        self._transport = Transport(url, key or os.environ.get("COLDSPARK_KEY"))

    @property
    def url(self) -> str:
        """Return the server's address."""
        return self._transport.url

    def invoke(
        self,
        name: str,
        data: Any = b"",
        *,
        content_type: str | None = None,
        accept: str | None = None,
        path: str = "",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = _INVOKE_TIMEOUT_S,
    ) -> Answer:
        """Call an endpoint: bytes go as they are, anything else as JSON.

        The answer may be read whole or by chunks. ``path`` is passed on to a command's server.
        """
        is_raw = isinstance(data, bytes | bytearray | memoryview)
        body = bytes(data) if is_raw else json.dumps(data).encode()
        sent = {"content-type": content_type or _media(is_raw), **(headers or {})}
        if accept is not None:
            sent["accept"] = accept
        return self.call(name, "POST", path, body, headers=sent, timeout_s=timeout_s)

    def call(
        self,
        name: str,
        method: str = "POST",
        path: str = "",
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = _INVOKE_TIMEOUT_S,
    ) -> Answer:
        """Call an endpoint with a method, a path of its own server, and headers as given."""
        target = f"{_endpoint(name)}/invoke{path}"
        reply = self._transport.exchange(
            method, target, headers=headers, body=body, timeout_s=timeout_s
        )
        return Answer(_checked(reply))

    def endpoints(self) -> list[Json]:
        """Return all endpoints by name."""
        return _list(self.ask("GET", "/v1/endpoints"), "endpoints")

    def endpoint(self, name: str) -> Json:
        """Return one endpoint with its variants, replicas and latest decisions."""
        return _object(self.ask("GET", _endpoint(name)))

    def put_endpoint(self, name: str, definition: Json, *, is_dry_run: bool = False) -> Json:
        """Create or change an endpoint; of a dry run, return the plan."""
        query = {"dry_run": "true"} if is_dry_run else {}
        return _object(self.ask("PUT", _endpoint(name), query=query, data=definition))

    def remove(self, name: str) -> None:
        """Delete an endpoint: what waits is refused, what runs may finish."""
        self.ask("DELETE", _endpoint(name))

    def has_artifact(self, sha256: str) -> bool:
        """Return whether the server holds an artifact."""
        with self._transport.exchange(
            "HEAD", f"/v1/artifacts/{sha256}", timeout_s=_ASK_TIMEOUT_S
        ) as reply:
            if reply.status == 404:
                return False
            # A HEAD reply has no body to tell more.
            if reply.status >= 400:
                raise ServerRefused(
                    reply.status, "Refused", f"asking for an artifact: HTTP {reply.status}"
                )
            return True

    def put_artifact(self, sha256: str, content: bytes) -> None:
        """Upload an archive under its SHA-256."""
        headers = {"content-type": "application/gzip"}
        self.ask("PUT", f"/v1/artifacts/{sha256}", body=content, headers=headers)

    def logs(self, name: str, lines: int = 100) -> list[Json]:
        """Return the newest lines of all replicas, oldest first."""
        answer = self.ask("GET", f"{_endpoint(name)}/logs", query={"lines": str(lines)})
        return _list(answer, "lines")

    def requests(self, name: str | None = None, limit: int = 50) -> list[Json]:
        """Return the newest ledger lines, newest first."""
        return _list(self.find_requests(name, limit), "requests")

    def find_requests(
        self,
        name: str | None = None,
        limit: int = 50,
        *,
        sort: str | None = None,
        is_cold: bool = False,
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> Json:
        """Return ledger lines under ``requests``: the newest, or the longest by ``sort``.

        ``sort`` is ``duration`` or a stage; ``is_cold`` leaves out those that waited for no start.
        ``is_complete`` is false where older lines were too many to be read.
        """
        parameters = {"endpoint": name, "sort": sort, "cold": "true" if is_cold else None}
        parameters |= {"limit": str(limit), "since": None if since_ms is None else str(since_ms)}
        parameters |= {"until": None if until_ms is None else str(until_ms)}
        query = {key: value for key, value in parameters.items() if value}
        return _object(self.ask("GET", "/v1/requests", query=query))

    def ledger(self, name: str, *, since_ms: int, lines_max: int) -> list[Json]:
        """Return an endpoint's ledger lines since a moment, newest first, page by page."""
        found: dict[str, Json] = {}
        until_ms: int | None = None
        while len(found) < lines_max:
            page = self.find_requests(name, _PAGE_LINES, since_ms=since_ms, until_ms=until_ms)
            before = len(found)
            found |= {line["request"]: line for line in _list(page, "requests")}
            if len(page["requests"]) < _PAGE_LINES or len(found) == before:
                break
            # The last millisecond may go on in the next page; what comes twice is one.
            until_ms = page["requests"][-1]["arrived_ms"] + 1
        return list(found.values())[:lines_max]

    def submit(
        self,
        name: str,
        data: Any = b"",
        *,
        content_type: str | None = None,
        accept: str | None = None,
        label: str | None = None,
        ttl_s: int | None = None,
        timeout_s: int | None = None,
    ) -> Json:
        """Submit a job, and return it: bytes go as they are, anything else as JSON.

        It is durable on return. ``ttl_s`` is how long it may wait, ``timeout_s`` how long it may
        run.
        """
        is_raw = isinstance(data, bytes | bytearray | memoryview)
        body = bytes(data) if is_raw else json.dumps(data).encode()
        headers = {"content-type": content_type or _media(is_raw)}
        if accept is not None:
            headers["accept"] = accept
        parameters = {"label": label, "ttl_s": ttl_s, "timeout_s": timeout_s}
        query = {key: str(value) for key, value in parameters.items() if value is not None}
        path = f"{_endpoint(name)}/jobs"
        return _object(self.ask("POST", path, query=query, body=body, headers=headers))

    def jobs(self, name: str | None = None, *, state: str | None = None, limit: int = 50) -> Json:
        """Return the newest jobs under ``jobs``, newest first."""
        parameters = {"endpoint": name, "state": state, "limit": str(limit)}
        query = {key: value for key, value in parameters.items() if value is not None}
        return _object(self.ask("GET", "/v1/jobs", query=query))

    def job(self, id: str) -> Json:
        """Return one job."""
        return _object(self.ask("GET", _job(id)))

    def wait_for_job(self, id: str, *, timeout_s: float = _INVOKE_TIMEOUT_S) -> Json:
        """Return a job once it has ended. Raises TimedOut."""
        pause_s, waited_s, pause = _PAUSE_S, 0.0, threading.Event()
        while (job := self.job(id))["state"] in ("accepted", "running"):
            if waited_s >= timeout_s:
                raise TimedOut(f"job {id} is still {job['state']} after {timeout_s:g} s")
            pause.wait(pause_s)
            waited_s += pause_s
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)
        return job

    def job_output(self, id: str) -> Answer:
        """Return what the endpoint answered to a job."""
        return Answer(self.open("GET", f"{_job(id)}/output"))

    def cancel_job(self, id: str) -> None:
        """Cancel a job that waits or runs."""
        self.ask("DELETE", _job(id))

    def coldstart(self, name: str, days: int = 7) -> Json:
        """Return how an endpoint's wakes went, and what would make them faster."""
        path = f"{_endpoint(name)}/coldstart"
        return _object(self.ask("GET", path, query={"days": str(days)}))

    def request(self, request_id: str) -> Json:
        """Return one ledger line."""
        return _object(self.ask("GET", f"/v1/requests/{quote(request_id, safe='')}"))

    def bill(
        self,
        name: str | None = None,
        *,
        book: str | None = None,
        since: str | None = None,
        until: str | None = None,
        as_gpu: str | None = None,
        memory_bytes: int | None = None,
    ) -> Json:
        """Return the bill of one endpoint or of all, priced by ``book``."""
        parameters = {
            "endpoint": name,
            "book": book,
            "since": since,
            "until": until,
            "as_gpu": as_gpu,
        }
        parameters |= {"memory": None if memory_bytes is None else str(memory_bytes)}
        query = {key: value for key, value in parameters.items() if value is not None}
        return _object(self.ask("GET", "/v1/bill", query=query))

    def doctor(self) -> Json:
        """Return what the server's machine can do."""
        return _object(self.ask("GET", "/v1/doctor"))

    def keys(self) -> list[Json]:
        """Return the valid API keys, without secrets."""
        return _list(self.ask("GET", "/v1/keys"), "keys")

    def create_key(self, name: str, scopes: list[str]) -> Json:
        """Create an API key; the secret is shown this once."""
        return _object(self.ask("POST", "/v1/keys", data={"name": name, "scopes": scopes}))

    def remove_key(self, key_id: str) -> None:
        """Revoke an API key."""
        self.ask("DELETE", f"/v1/keys/{quote(key_id, safe='')}")

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        data: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = _ASK_TIMEOUT_S,
    ) -> Any:
        """Do one exchange of JSON with the API; None for an empty reply."""
        if data is not None:
            body, headers = json.dumps(data).encode(), {"content-type": "application/json"}
        with self.open(
            method, path, query=query, body=body, headers=headers, timeout_s=timeout_s
        ) as reply:
            content = reply.read()
        try:
            return json.loads(content) if content.strip() else None
        except ValueError:
            raise ReplyBroken(f"{self.url} does not speak coldspark's API: not JSON") from None

    def open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = _ASK_TIMEOUT_S,
    ) -> HttpReply:
        """Begin an exchange with a streamed reply. Raises the server's errors."""
        target = f"{path}?{urlencode(query)}" if query else path
        return _checked(
            self._transport.exchange(
                method, target, headers=headers, body=body, timeout_s=timeout_s
            )
        )

    def close(self) -> None:
        """Close kept connections."""
        self._transport.close()


def parse_server_timing(value: str) -> dict[str, float]:
    """Read ``booted;dur=14.0, total;dur=20.5`` into milliseconds by name."""
    stages: dict[str, float] = {}
    for entry in value.split(","):
        name, _, rest = entry.strip().partition(";")
        for parameter in rest.split(";"):
            key, _, number = parameter.strip().partition("=")
            if key == "dur" and number.replace(".", "", 1).isdigit():
                stages[name] = float(number)
    return stages


def _checked(reply: HttpReply) -> HttpReply:
    if reply.status < 400:
        return reply
    with reply:
        content = reply.read()
    raise _refusal(reply, content)


def _refusal(reply: HttpReply, content: bytes) -> ServerRefused:
    """Read ``{"error": {"code": …, "message": …}}``; anything else is a handler's own body."""
    try:
        detail = json.loads(content)["error"]
        code, message = str(detail["code"]), str(detail["message"])
    except (ValueError, TypeError, KeyError):
        text = content[:2_000].decode("utf-8", "replace").strip()
        code, message, detail = "HandlerFailed", text or f"HTTP {reply.status}", {}
    refusal = ServerRefused(
        reply.status,
        code,
        message,
        field=detail.get("field"),
        log_tail=tuple(detail.get("log_tail") or ()),
        retry_after_s=detail.get("retry_after_s"),
    )
    refusal.request_id = reply.headers.get("x-coldspark-request-id")
    return refusal


def _endpoint(name: str) -> str:
    return f"/v1/endpoints/{quote(name, safe='')}"


def _job(id: str) -> str:
    return f"/v1/jobs/{quote(id, safe='')}"


def _media(is_raw: bool) -> str:
    return "application/octet-stream" if is_raw else "application/json"


def _object(answer: Any) -> Json:
    return answer if isinstance(answer, dict) else {"value": answer}


def _list(answer: Any, key: str) -> list[Json]:
    """Return the rows, whether they come bare or under their name."""
    rows = answer.get(key) if isinstance(answer, dict) else answer
    return rows if isinstance(rows, list) else []
