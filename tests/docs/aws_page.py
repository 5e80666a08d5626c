"""Write ``docs/reference/aws-compatibility.md`` from AWS's doors themselves: ``make docs``.

The services are those of ``doors/aws/door.py``; nothing else is listed by hand. What becomes
of a member is what the overlay in the door's ``shapes`` says.
"""

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

from doc_pages import ROOT

from coldspark.config import ServerConfig
from coldspark.doors.aws.door import SERVICES
from coldspark.doors.aws.protocol.operations import AwsOperation, Service
from coldspark.doors.aws.protocol.shapes import (
    Boolean,
    Dictionary,
    Enumeration,
    Integer,
    Sequence,
    Shape,
    Structure,
    Unsupported,
)

PAGE = ROOT / "docs/reference/aws-compatibility.md"
_HEAD = """\
# What works of AWS's APIs

Generated from the doors by `make docs`.

*works*: it changes what runs, or what is answered.
*kept*: AWS does not act on it either; Describe shows it.
*refused*: the call fails, and the message names the member and what to do instead.
An operation or a member that is not listed is refused too.
A member of a list or a map stands under its own name, as in `Tags.Key`.
Object storage has a page of its own: `docs/reference/s3.md`.
How to point a client here: `docs/howto/use-aws-sdks.md`.
"""


def services() -> list[Service]:
    """Return every service, by signing name."""
    found = []
    # For their shapes alone: what they work on is asked when something runs.
    dependencies = Mock(config=ServerConfig(data=Path("data")))
    for open_service in SERVICES:
        service = open_service(dependencies)
        assert service is not None
        found.append(service)
    return sorted(found, key=lambda service: service.signing_name)


def render() -> str:
    """Return the page."""
    return "".join([_HEAD, *(_section(service) for service in services())])


def _section(service: Service) -> str:
    operations = sorted(service.operations.items())
    parts = [_operation(name, one) for name, one in operations]
    ways = [
        *([f"JSON, `X-Amz-Target: {service.target}…`"] if service.target else []),
        *([f"query, version {service.query_version}"] if service.query_version else []),
    ]
    head = f"\n## {service.signing_name}\n\n{'; '.join(ways)}.\n"
    return "".join([head, *parts, _instead(service)])


def _instead(service: Service) -> str:
    """Return the table of what is refused by name, in the words of the refusal."""
    if not service.instead:
        return ""
    rows = [f"| `{name}` | {_cell(instead)} |" for name, instead in sorted(service.instead.items())]
    return "\n".join(["\n### Refused\n", "| operation | use instead |", "|---|---|", *rows, ""])


def _operation(name: str, operation: AwsOperation) -> str:
    rows = list(_rows(operation.shape, "", {}))
    if not rows:
        return f"\n### {name}\n\nIt takes nothing.\n"
    lines = [f"| `{member}` | {fate} |" for member, fate in rows]
    return "\n".join([f"\n### {name}\n", "| member | |", "|---|---|", *lines, ""])


def _rows(shape: Structure, path: str, told: dict[int, str]) -> Iterator[tuple[str, str]]:
    """Yield each member and what becomes of it; a shape that was told is only pointed at."""
    for name, member in shape.members.items():
        where = f"{path}.{name}" if path else name
        inner = _inside(member)
        if name in shape.kept:
            yield where, "kept"
        elif inner is None:
            yield where, _fate(member)
        elif not inner.members:
            yield where, "works, empty"
        elif id(inner) in told:
            yield where, f"as `{told[id(inner)]}`"
        else:
            told[id(inner)] = where
            yield from _rows(inner, where, told)


def _inside(shape: Shape) -> Structure | None:
    """Return the structure in a member, or in a list or map of such."""
    while isinstance(shape, Sequence | Dictionary):
        shape = shape.member if isinstance(shape, Sequence) else shape.value
    return shape if isinstance(shape, Structure) else None


def _fate(shape: Shape) -> str:
    match shape:
        case Unsupported(why):
            return _cell(f"refused: {why}")
        case Boolean(only=bool() as only):
            return f"works with {str(only).lower()}, else refused"
        case Enumeration(values, tuple() as supported) if set(supported) != set(values):
            rest = ", ".join(value for value in values if value not in supported)
            return f"works with {', '.join(supported)}; refused: {rest}"
        case Integer(int() as least, int() as most):
            return f"works, {least:,} to {most:,}" if least < most else f"works with {most:,}"
        case _:
            return "works"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
