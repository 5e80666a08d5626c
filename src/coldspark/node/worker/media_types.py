"""Decode requests and encode replies: JSON, CSV and NPY, as SageMaker's toolkit does.

Lists become numpy arrays when numpy is installed, and stay plain lists when it is not; JSON objects
stay dicts. Arrays of Python objects (lists of objects, ragged lists) stay lists too.
NPY needs numpy, and never unpickles.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from typing import Any

JSON = "application/json"
CSV = "text/csv"
NPY = "application/x-npy"
ANY = "*/*"
_UTF8 = (JSON, CSV)


class UnsupportedMedia(Exception):
    """The content type is one that the default functions do not read or write."""


def base_type(content_type: str) -> str:
    """Return the type without its parameters, in lower case."""
    return content_type.split(";", 1)[0].strip().lower()


def as_text(body: bytes, content_type: str) -> str | bytes:
    """Return what ``input_fn`` gets: text for JSON and CSV, the bytes themselves for the rest."""
    return body.decode("utf-8") if base_type(content_type) in _UTF8 else body


def resolve_accept(accept: str | None) -> str:
    """Return the one type to answer with: the default for anything, else the first we know."""
    default = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT") or JSON
    if accept is None or base_type(accept) in ("", ANY):
        return default
    if "," not in accept:
        return accept
    types = [base_type(part) for part in accept.split(",")]
    known = [name for name in types if name in _ENCODERS]
    if known:
        return known[0]
    return default if ANY in types else types[0]


def decode(body: str | bytes, content_type: str) -> Any:
    """Decode a request. Raises UnsupportedMedia, and ValueError for a malformed body."""
    decoder = _DECODERS.get(base_type(content_type))
    if decoder is None:
        raise UnsupportedMedia(_refusal("content type", content_type, _DECODERS))
    return decoder(body)


def encode(value: Any, accept: str) -> str | bytes:
    """Encode a reply. Raises UnsupportedMedia, and TypeError for what the type cannot hold."""
    encoder = _ENCODERS.get(base_type(accept))
    if encoder is None:
        raise UnsupportedMedia(_refusal("accept", accept, _ENCODERS))
    return encoder(value)


def _refusal(what: str, value: str, known: dict[str, Any]) -> str:
    return f"{what} {value[:200]!r} is not supported; supported: {', '.join(sorted(known))}"


def numpy() -> Any | None:
    """Return numpy, or None where it is not installed."""
    try:
        import numpy as module
    except ImportError:
        return None
    return module


def _array(values: Any) -> Any:
    np = numpy()
    if np is None:
        return values
    try:
        array = np.array(values)
    except ValueError:
        return values
    return values if array.dtype == object else array


def _decode_json(body: str | bytes) -> Any:
    value = json.loads(body)
    return _array(value) if isinstance(value, list) else value


def _decode_csv(body: str | bytes) -> Any:
    text = body.decode("utf-8") if isinstance(body, bytes) else body
    np = numpy()
    if np is not None:
        return np.genfromtxt(io.StringIO(text), delimiter=",", encoding="utf-8")
    return [[_number(cell) for cell in row] for row in csv.reader(io.StringIO(text)) if row]


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")  # As numpy.genfromtxt reads it.


def _decode_npy(body: str | bytes) -> Any:
    np = numpy()
    if np is None:
        raise UnsupportedMedia(f"{NPY} needs numpy in the endpoint's requirements")
    data = body.encode("latin-1") if isinstance(body, str) else body
    return np.load(io.BytesIO(data), allow_pickle=False)


def _encode_json(value: Any) -> str:
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    """Return arrays, tensors and their scalars as plain lists and numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON; define output_fn")


def _encode_csv(value: Any) -> str:
    np = numpy()
    if np is not None:
        stream = io.StringIO()
        np.savetxt(stream, np.atleast_1d(np.asarray(value)), delimiter=",", fmt="%s")
        return stream.getvalue()
    rows = value if isinstance(value, (list, tuple)) else [value]
    return "".join(_line(row) + "\n" for row in rows)


def _line(row: Any) -> str:
    return ",".join(map(str, row)) if isinstance(row, (list, tuple)) else str(row)


def _encode_npy(value: Any) -> bytes:
    np = numpy()
    if np is None:
        raise UnsupportedMedia(f"{NPY} needs numpy in the endpoint's requirements")
    stream = io.BytesIO()
    np.save(stream, np.asarray(value), allow_pickle=False)
    return stream.getvalue()


_DECODERS: dict[str, Callable[[str | bytes], Any]] = {
    JSON: _decode_json,
    CSV: _decode_csv,
    NPY: _decode_npy,
}
_ENCODERS: dict[str, Callable[[Any], str | bytes]] = {
    JSON: _encode_json,
    CSV: _encode_csv,
    NPY: _encode_npy,
}
