"""``/docs``: the API's document as one page of HTML. No script, nothing from elsewhere."""

import json
import re
from collections.abc import Sequence
from html import escape
from typing import Any

Json = dict[str, Any]

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>coldspark API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
h2 { border-bottom: 1px solid #8884; margin-top: 2em; }
details { border: 1px solid #8884; border-radius: 6px; margin: .5em 0; padding: .4em .8em; }
summary { cursor: pointer; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { background: #8881; padding: .8em; overflow-x: auto; border-radius: 4px; }
.method { display: inline-block; min-width: 4.5em; font-weight: 600; }
.quiet { color: #888; }
table { border-collapse: collapse; margin: .8em 0; width: 100%; }
td, th { text-align: left; padding: .2em .8em .2em 0; vertical-align: top; }
th { font-weight: 600; color: #888; }
</style></head><body>
"""


def render_page(document: Json) -> str:
    """Return the page."""
    info = document["info"]
    parts = [_HEAD, f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>"]
    parts += [f"<p>{_prose(text)}</p>" for text in info["description"].strip().split("\n\n")]
    parts.append('<p><a href="/openapi.json">openapi.json</a></p>')
    for tag in document["tags"]:
        parts.append(f"<h2>{escape(tag['name'])}</h2>")
        parts += [
            _operation(method, path, item, entry)
            for path, item in document["paths"].items()
            for method, entry in item.items()
            if method != "parameters" and tag["name"] in entry["tags"]
        ]
    parts.append("<h2>Bodies</h2>")
    parts += [_schema(name, one) for name, one in document["components"]["schemas"].items()]
    return "".join([*parts, "</body></html>"])


def _operation(method: str, path: str, item: Json, entry: Json) -> str:
    parameters = [*item.get("parameters", ()), *entry.get("parameters", ())]
    name = f"<code><span class=method>{method.upper()}</span> {escape(path)}</code>"
    about = f" <span class=quiet>{escape(entry['summary'])}</span>"
    parts = [
        f"<details><summary>{name}{about}</summary>",
        f"<p>{_prose(entry['description'])}</p>",
    ]
    if parameters:
        rows = [(one["name"], one["in"], one.get("description", "")) for one in parameters]
        parts.append(_table(("parameter", "in", ""), rows))
    if "requestBody" in entry:
        parts.append(f"<p>Body: {_content(entry['requestBody']['content'])}</p>")
    parts.append(
        _table(
            ("status", "", "body"),
            [
                (status, escape(one["description"]), _content(one.get("content", {})))
                for status, one in entry["responses"].items()
            ],
            is_html=True,
        )
    )
    return "".join([*parts, "</details>"])


def _schema(name: str, schema: Json) -> str:
    required = set(schema.get("required", ()))
    rows = [
        (
            f"<code>{escape(field)}</code>{'' if field in required else ' <i>optional</i>'}",
            _kind(one),
            escape(json.dumps(one["default"])) if "default" in one else "",
        )
        for field, one in schema.get("properties", {}).items()
    ]
    about = _prose(schema.get("description", ""))
    table = _table(("field", "type", "default"), rows, is_html=True)
    # The id stands inside: a link to it then opens the section, which a script would have to else.
    return (
        f"<details><summary><code>{escape(name)}</code> <span class=quiet>{about}</span></summary>"
        f'<div id="{escape(name)}">{table}</div></details>'
    )


def _content(content: Json) -> str:
    return ", ".join(
        f"<code>{escape(media)}</code> {_kind(one['schema'])}" for media, one in content.items()
    )


def _kind(schema: Json) -> str:
    """Write a schema in a few words, with links to the bodies it names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{escape(name)}">{escape(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if "enum" in schema:
        return " | ".join(escape(json.dumps(one)) for one in schema["enum"])
    return escape(str(schema.get("type", "")))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, is_html: bool = False) -> str:
    cells = "".join(f"<th>{escape(one)}</th>" for one in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{one if is_html else escape(one)}</td>" for one in row) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{cells}</tr>{lines}</table>"


def _prose(text: str) -> str:
    """Escape, and set what stands between backticks as code."""
    pieces = re.split("`+", escape(text))
    return "".join(f"<code>{one}</code>" if place % 2 else one for place, one in enumerate(pieces))
