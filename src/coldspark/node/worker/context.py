"""What the user's functions may know about the server and the request: the toolkit's context.

``index`` arguments exist because the toolkit's requests may be batches: it is 0 for a ``Context``,
and the input's place for a ``BatchContext``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"


@dataclass(frozen=True)
class HandlerRequest:
    """One call as it came."""

    method: str
    path: str
    content_type: str | None
    accept: str | None
    headers: Sequence[tuple[str, str]]
    """Names in lower case."""
    request_id: str
    body: bytes


class Context:
    """The last argument of the user's functions. One object per call, so it is safe in threads."""

    def __init__(self, model_dir: str, request: HandlerRequest | None) -> None:
        self.model_dir = model_dir
        self.model_name = "model"
        self.manifest: dict[str, object] = {"model": {"modelName": "model"}}
        self.system_properties: dict[str, object] = {"model_dir": model_dir, "batch_size": 1}
        self.request_id = None if request is None else request.request_id
        self.status = 200
        self.content_type: str | None = None
        self.headers: list[tuple[str, str]] = []
        self._request_headers = _all_headers(request)

    @property
    def custom_attributes(self) -> str | None:
        """Return the caller's X-Amzn-SageMaker-Custom-Attributes."""
        return self._request_headers.get(CUSTOM_ATTRIBUTES)

    def get_request_id(self, index: int = 0) -> str | None:
        """Return the request's id; None while the model loads."""
        return self.request_id

    def get_request_header(self, index: int, name: str) -> str | None:
        """Return a header of the request, by its name in any case."""
        return self._request_headers.get(name.lower())

    def get_all_request_header(self, index: int = 0) -> dict[str, str]:
        """Return all headers of the request, names in lower case."""
        return dict(self._request_headers)

    def set_response_content_type(self, index: int, value: str) -> None:
        """Answer with this content type, unless the reply itself names one."""
        self.content_type = value

    def set_response_header(self, index: int, name: str, value: str) -> None:
        """Add a header to the reply."""
        self.headers.append((name.lower(), str(value)))

    def set_response_status(self, code: int = 200, phrase: str = "", index: int = 0) -> None:
        """Answer with this status."""
        self.status = int(code)


class BatchContext:
    """The context of a batch: what ``Context`` has, with the input's index where that has one."""

    def __init__(self, contexts: Sequence[Context]) -> None:
        first = contexts[0]
        self.model_dir = first.model_dir
        self.model_name = first.model_name
        self.manifest = first.manifest
        self.system_properties = {**first.system_properties, "batch_size": len(contexts)}
        self._contexts = contexts

    def get_request_id(self, index: int = 0) -> str | None:
        """Return the id of one request."""
        return self._contexts[index].request_id

    def get_request_header(self, index: int, name: str) -> str | None:
        """Return a header of one request, by its name in any case."""
        return self._contexts[index].get_request_header(0, name)

    def get_all_request_header(self, index: int = 0) -> dict[str, str]:
        """Return all headers of one request, names in lower case."""
        return self._contexts[index].get_all_request_header()

    def set_response_content_type(self, index: int, value: str) -> None:
        """Answer one request with this content type, unless its reply itself names one."""
        self._contexts[index].set_response_content_type(0, value)

    def set_response_header(self, index: int, name: str, value: str) -> None:
        """Add a header to one reply."""
        self._contexts[index].set_response_header(0, name, value)

    def set_response_status(self, code: int = 200, phrase: str = "", index: int = 0) -> None:
        """Answer one request with this status."""
        self._contexts[index].set_response_status(code, phrase)


def _all_headers(request: HandlerRequest | None) -> dict[str, str]:
    if request is None:
        return {}
    headers = dict(request.headers)
    if request.content_type is not None:
        headers["content-type"] = request.content_type
    if request.accept is not None:
        headers["accept"] = request.accept
    return headers
