"""Names of groups, their ARNs, and the tokens of pages."""

import re
from collections.abc import Iterator
from typing import Never, TypeVar

from coldspark.doors.aws.protocol.credential_scope import ACCOUNT
from coldspark.doors.aws.protocol.errors import AwsError
from coldspark.doors.aws.protocol.names import from_group
from coldspark.doors.aws.protocol.operations import Body
from coldspark.doors.aws.protocol.page_tokens import read_token, write_token
from coldspark.telemetry.log_records import Position
from coldspark.telemetry.log_store import endpoint_of

_Place = TypeVar("_Place")

_ARN = re.compile(r"arn:aws[a-z-]*:logs:[a-z0-9-]*:(?P<account>\d{12}):log-group:(?P<name>[^:]+)")
_IDENTIFIER = re.compile(r"[\w#+=/:,.@-]*", re.ASCII)
_EVENT_TOKEN = re.compile(r"(?P<way>[fb])/(?P<at>\d{14})(?P<part>\d{14})(?P<offset>\d{28})")


def refuse(message: str) -> Never:
    """Raise an InvalidParameterException."""
    raise AwsError("InvalidParameterException", message)


def no_group() -> Never:
    """Raise AWS's words for a group that is not there."""
    raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")


def no_stream() -> Never:
    """Raise AWS's words for a stream that is not there."""
    raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")


def group_arn(region: str, group: str) -> str:
    """Return a group's ARN, without the ``:*`` that means its streams."""
    return f"arn:aws:logs:{region}:{ACCOUNT}:log-group:{group}"


def group_of_identifier(identifier: str, member: str = "logGroupIdentifier") -> str:
    """Return the name of a group that is given by name or ARN."""
    if not _IDENTIFIER.fullmatch(identifier):
        refuse(
            f"1 validation error detected: Value at '{member}' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: [\w#+=/:,.@-]*"
        )
    if not identifier.startswith("arn:"):
        return identifier
    found = _ARN.fullmatch(identifier)
    if found is None or found["account"] != ACCOUNT:
        refuse(f"'{identifier}' at '{member}' is not the ARN of a log group of account {ACCOUNT}")
    return found["name"]


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


def page_token(*place: object) -> str:
    """Return the token of a place in a list."""
    return write_token(place)


def read_page_token(token: str, kind: type[_Place]) -> _Place:
    """Return the place of a token that ``page_token`` made."""
    place = read_token(token, kind)
    if place is None:
        bad_token()
    return place


def bad_token() -> Never:
    """Raise AWS's words for a token that was not given."""
    refuse("The specified nextToken is invalid.")
