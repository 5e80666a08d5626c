"""The API's document is valid, complete, and true to the routes."""

import json
import re

from fake_services import Rig
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.applications import Starlette
from starlette.routing import Route

from coldspark.doors.native.docs_page import render_page
from coldspark.doors.native.openapi import document
from coldspark.doors.native.operations import OPERATIONS


def test_the_document_is_valid() -> None:
    """OpenAPI 3.1, by the official schema."""
    described = json.loads(json.dumps(document(OPERATIONS)))
    OpenAPIV31SpecValidator(described).validate()
    assert len({one.id for one in OPERATIONS}) == len(OPERATIONS)


def test_every_native_route_is_documented() -> None:
    """What the app serves under /v1 stands in the document, but for the other doors' routes."""
    app = Rig().context().app
    assert isinstance(app, Starlette)
    described = document(OPERATIONS)["paths"]
    for route in app.routes:
        assert isinstance(route, Route)
        path = re.sub(r":\w+}", "}", route.path)
        if path.startswith(("/v1/models", "/endpoints/", "/service/")):
            continue
        if path in ("/", "/docs", "/openapi.json"):
            continue
        for method in route.methods or ():
            is_implied = method == "HEAD" and "get" in described[path]
            assert is_implied or method.lower() in described[path], (method, path)


def test_every_operation_that_needs_a_key_says_so() -> None:
    """And documents how it is refused."""
    described = document(OPERATIONS)["paths"]
    for operation in OPERATIONS:
        entry = described[operation.path][operation.method.lower()]
        if operation.scope is None:
            assert entry["security"] == []
        else:
            assert entry["security"] == [{"key": []}]
            assert {"401", "403"} <= set(entry["responses"])


def test_the_page_shows_code_as_code_and_its_links_open_what_they_name() -> None:
    """A browser opens a closed section only for a target inside it; no backtick is left."""
    html = render_page(document(OPERATIONS))
    assert "`" not in html
    assert "<code>model_fn</code>" in html
    assert "<details id=" not in html
    links = set(re.findall(r'href="#(\w+)"', html))
    assert links
    for name in links:
        assert re.search(rf'</summary><\w+ id="{name}"', html), name
