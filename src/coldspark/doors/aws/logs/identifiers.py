"""Names of groups, their ARNs, and the tokens of places in streams."""

import re
from collections.abc import Iterator

from coldspark.doors.aws.logs.errors import bad_token, refuse
from coldspark.doors.aws.protocol.arns import arn, parse_arn
from coldspark.doors.aws.protocol.credential_scope import ACCOUNT
from coldspark.doors.aws.protocol.names import from_group
from coldspark.doors.aws.protocol.request import Body
from coldspark.telemetry.log_records import Position
from coldspark.telemetry.log_store import endpoint_of

_IDENTIFIER = re.compile(r"[\w#+=/:,.@-]*", re.ASCII)
_EVENT_TOKEN = re.compile(r"(?P<way>[fb])/(?P<at>\d{14})(?P<part>\d{14})(?P<offset>\d{28})")


def group_arn(region: str, group: str) -> str:
    """Return a group's ARN, without the ``:*`` that means its streams."""
    return arn("logs", region, f"log-group:{group}")


def group_of_identifier(identifier: str, member: str = "logGroupIdentifier") -> str:
    """Return the name of a group that is given by name or ARN."""
    if not _IDENTIFIER.fullmatch(identifier):
        refuse(
            f"1 validation error detected: Value at '{member}' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: [\w#+=/:,.@-]*"
        )
    if not identifier.startswith("arn:"):
        return identifier
    found = parse_arn(identifier, "logs")
    noun, _, name = ("", "", "") if found is None else found.resource.partition(":")
    if found is None or found.account != ACCOUNT or noun != "log-group" or not name or ":" in name:
        refuse(f"'{identifier}' at '{member}' is not the ARN of a log group of account {ACCOUNT}")
    return name


def group_name(body: Body) -> str:
    """Return the group that a request is about, by name or identifier."""
    name, identifier = body.get("logGroupName"), body.get("logGroupIdentifier")
    if name is not None and identifier is not None:
        refuse("Only one of logGroupName and logGroupIdentifier can be given.")
    if identifier is not None:
        return group_of_identifier(str(identifier))
    if name is None:
        refuse("One of logGroupName and logGroupIdentifier must be given.")
    return str(name)


def endpoints(body: Body) -> Iterator[str]:
    """Yield the endpoints whose groups a checked request is about.

    For a caller's own group nothing: then the scope is needed without a name.
    """
    names = [str(body[member]) for member in ("logGroupName",) if member in body]
    for member in ("logGroupIdentifier", "resourceArn"):
        if member in body:
            names.append(group_of_identifier(str(body[member]), member))
    identifiers = body.get("logGroupIdentifiers", [])
    assert isinstance(identifiers, list)
    names += [group_of_identifier(str(one), "logGroupIdentifiers") for one in identifiers]
    found = [endpoint_of(from_group(name)) for name in names]
    # One that is no endpoint's asks for more than any that is.
    if None not in found:
        yield from (one for one in found if one is not None)


def event_id(stream: int, position: Position) -> str:
    """Return the id of an event: the same whenever it is read."""
    at_ms, part, offset = position
    return f"{at_ms:014d}{part:014d}{stream:010d}{offset:018d}"


def event_token(way: str, position: Position) -> str:
    """Return the token of a place in a stream: ``f``, what comes after; ``b``, what is before."""
    at_ms, part, offset = position
    return f"{way}/{at_ms:014d}{part:014d}{offset + 1:028d}"


def read_event_token(token: str) -> tuple[str, Position]:
    """Return the way and place of a token."""
    found = _EVENT_TOKEN.fullmatch(token)
    if found is None:
        bad_token()
    place = int(found["at"]), int(found["part"]), int(found["offset"]) - 1
    if place[2] >= 2**63:
        bad_token()
    return found["way"], place
