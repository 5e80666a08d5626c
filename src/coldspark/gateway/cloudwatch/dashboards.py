"""Dashboards: stored documents, for tools that keep them here; nothing draws them."""

import json
from typing import NoReturn

from coldspark.gateway.aws.errors import AwsError
from coldspark.gateway.aws.services import Moment
from coldspark.gateway.cloudwatch import tags
from coldspark.gateway.cloudwatch.calls import (
    DOOR,
    Body,
    Call,
    arn,
    bad_value,
    place_of,
    token,
)
from coldspark.gateway.cloudwatch.tags import DASHBOARD_KIND

_PAGE = 1_000


async def put_dashboard(call: Call) -> Body:
    """Create or replace a dashboard, whose body must be a JSON object."""
    name, text = str(call.body["DashboardName"]), str(call.body["DashboardBody"])
    try:
        is_object = isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    if not is_object:
        raise AwsError(
            "InvalidParameterInput",
            "The field DashboardBody must be a valid JSON object",
            field="DashboardBody",
        )
    is_new = await call.documents.get(DOOR, DASHBOARD_KIND, name) is None
    await call.documents.put(DOOR, DASHBOARD_KIND, name, {"body": text})
    if is_new:
        resource = arn("dashboard", name, call.region)
        await tags.put(call.documents, resource, call.body.get("Tags", []))
    return {}


async def get_dashboard(call: Call) -> Body:
    """Return a dashboard."""
    name = str(call.body["DashboardName"])
    document = await call.documents.get(DOOR, DASHBOARD_KIND, name)
    if document is None:
        _not_there(name)
    return {
        "DashboardArn": arn("dashboard", name, call.region),
        "DashboardBody": str(document.body["body"]),
        "DashboardName": name,
    }


async def list_dashboards(call: Call) -> Body:
    """Return dashboards by name."""
    prefix, after = str(call.body.get("DashboardNamePrefix", "")), place_of(call.body) or ""
    documents = [
        one
        for one in await call.documents.find(DOOR, DASHBOARD_KIND)
        if one.name.startswith(prefix) and one.name > after
    ]
    shown = documents[:_PAGE]
    answered: Body = {
        "DashboardEntries": [
            {
                "DashboardName": one.name,
                "DashboardArn": arn("dashboard", one.name, call.region),
                "LastModified": Moment(one.updated_ms),
                "Size": len(str(one.body["body"]).encode()),
            }
            for one in shown
        ]
    }
    if len(shown) < len(documents):
        answered["NextToken"] = token(call.body, shown[-1].name)
    return answered


async def delete_dashboards(call: Call) -> Body:
    """Delete dashboards: all of them, or none where one is not there."""
    names = call.body.get("DashboardNames", [])
    if not names:
        bad_value("The parameter DashboardNames must name at least one dashboard.")
    for name in names:
        if await call.documents.get(DOOR, DASHBOARD_KIND, name) is None:
            _not_there(name)
    for name in names:
        await call.documents.delete(DOOR, DASHBOARD_KIND, name)
        await tags.put(call.documents, arn("dashboard", name, call.region), [])
    return {}


def _not_there(name: str) -> NoReturn:
    raise AwsError("ResourceNotFound", f"Dashboard {name} does not exist", status=404)
