"""XML as S3 writes and reads it."""

import re
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Final
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from coldspark.errors import InvalidRequest

DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\r]")


class Malformed(InvalidRequest):
    """Say why a body is not what the operation takes."""


def node(tag: str, *inner: str) -> str:
    """Return an element around others."""
    return f"<{tag}>{''.join(inner)}</{tag}>"


def text(tag: str, value: str | int | bool) -> str:
    """Return an element with a text; a character that XML has no place for as its number."""
    if isinstance(value, bool):
        value = "true" if value else "false"
    plain = escape(str(value))
    return f"<{tag}>{_CONTROL.sub(lambda match: f'&#x{ord(match[0]):x};', plain)}</{tag}>"


def optional_text(tag: str, value: str | int | None) -> str:
    """Return an element, or nothing."""
    return "" if value is None else text(tag, value)


def document(tag: str, *inner: str) -> bytes:
    """Return a whole document in S3's namespace."""
    return f"{DECLARATION}<{tag}{_NAMESPACE}>{''.join(inner)}</{tag}>".encode()


def iso_timestamp(at_ms: int) -> str:
    """Return a point in time as S3's documents have it."""
    at = datetime.fromtimestamp(at_ms // 1_000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1_000:03d}Z"


def http_date(at_ms: int) -> str:
    """Return a point in time as HTTP's headers have it."""
    return formatdate(at_ms // 1_000, usegmt=True)


class Element:
    """An element of a body that was sent, whatever its namespace."""

    def __init__(self, found: ElementTree.Element) -> None:
        self._found = found

    @property
    def tag(self) -> str:
        """Return its name."""
        return self._found.tag.rpartition("}")[2]

    @property
    def children(self) -> "list[Element]":
        """Return what is within."""
        return [Element(child) for child in self._found]

    def all(self, tag: str) -> "list[Element]":
        """Return the children of a name."""
        return [child for child in self.children if child.tag == tag]

    def text(self, tag: str) -> str | None:
        """Return the text of a child."""
        return next((child._found.text or "" for child in self.all(tag)), None)

    def texts(self) -> dict[str, str]:
        """Return all children's texts by name."""
        return {child.tag: child._found.text or "" for child in self.children}


def read(body: bytes, tag: str) -> Element:
    """Read a body whose root is ``tag``. Raises Malformed."""
    if b"<!" in body:
        # Neither a document type nor entities have a place here: they are how XML is made to grow.
        raise Malformed("The XML must have no document type and no comments.")
    try:
        root = Element(ElementTree.fromstring(body))
    except ElementTree.ParseError as error:
        raise Malformed(f"The XML you provided was not well-formed: {error}.") from None
    if root.tag != tag:
        raise Malformed(f"The XML must be a {tag}, not a {root.tag[:64]}.")
    return root
