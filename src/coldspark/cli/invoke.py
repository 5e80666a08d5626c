"""``invoke`` calls an endpoint: the answer to standard output, its time and cost beside it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coldspark.cli import jobs, waterfall
from coldspark.cli import output as render
from coldspark.cli.options import Key, Name, Url, client
from coldspark.errors import InvalidRequest

if TYPE_CHECKING:
    from coldspark.sdk.client import Answer

_INVOKE = """
[bold]Examples[/bold]

coldspark invoke embed --json '{"texts": \\["hello"]}'

coldspark invoke classify --file cat.jpg --content-type image/jpeg

echo '{"messages": \\[{"role": "user", "content": "Hi"}], "stream": true}' | coldspark invoke chat

coldspark invoke transcribe --file talk.wav --async --wait

coldspark invoke chat --path /v1/models --method GET --show-timing
"""
_JSON = "application/json"
_MEDIA = {
    ".json": _JSON,
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".wav": "audio/wav",
    ".npy": "application/x-npy",
}


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command(epilog=_INVOKE)(invoke)


def invoke(
    name: Name,
    json_text: Annotated[str | None, typer.Option("--json", "-j", help="A JSON body.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="The body; - is stdin.")] = None,
    data: Annotated[str | None, typer.Option("--data", "-d", help="A text body.")] = None,
    content_type: Annotated[
        str | None, typer.Option(help="Of the body.", show_default="by the file's name")
    ] = None,
    accept: Annotated[str | None, typer.Option(help="The wanted type of the answer.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write here.")] = None,
    method: Annotated[str, typer.Option(help="For a command's own routes.")] = "POST",
    path: Annotated[str, typer.Option(help="A route of a command's own server.")] = "",
    show_timing: Annotated[
        bool, typer.Option("--show-timing", "-t", help="Draw where the time went.")
    ] = False,
    is_async: Annotated[
        bool, typer.Option("--async", help="Hand it in as a job: durable, answered later.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="With --async: wait for the answer.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer only.")] = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Call an endpoint. Streams are printed as they come; time and cost go to standard error."""
    body, media = _body(json_text, file, data)
    sent = content_type or media
    if wait and not is_async:
        raise typer.BadParameter("goes with --async", param_hint="--wait")
    if is_async:
        if path or method != "POST":
            raise typer.BadParameter("a job is POSTed to the invoke path", param_hint="--async")
        job = client(url, key).submit(name, body, content_type=sent, accept=accept)
        jobs.print_job(
            client(url, key), job, is_awaited=wait, write=lambda line: _write(line, output)
        )
        return
    answer = client(url, key).call(name, method, path, body, headers=_headers(sent, accept))
    _write(answer, output)
    if show_timing:
        _draw(answer.stages_ms)
    if show_timing or (render.is_terminal(sys.stderr) and not quiet):
        render.note(_summary(answer))


def _draw(stages_ms: dict[str, float]) -> None:
    stages_us = {name: round(value * 1000) for name, value in stages_ms.items()}
    width, is_coloured = waterfall.width_of_terminal(), render.is_terminal(sys.stderr)
    for line in waterfall.draw(stages_us, width=width, is_coloured=is_coloured):
        render.note(line)


def _body(json_text: str | None, file: Path | None, data: str | None) -> tuple[bytes, str | None]:
    """Return the body and what it is; standard input is read when it is no terminal."""
    if sum(value is not None for value in (json_text, file, data)) > 1:
        raise typer.BadParameter("give one of --json, --file and --data")
    if json_text is not None:
        return _checked_json(json_text), _JSON
    if data is not None:
        return data.encode(), "text/plain"
    if file is not None and str(file) != "-":
        if not file.is_file():
            raise typer.BadParameter(f"{file} is not a file", param_hint="--file")
        return file.read_bytes(), _MEDIA.get(file.suffix.lower(), "application/octet-stream")
    if file is None and sys.stdin.isatty():
        return b"", None
    body = sys.stdin.buffer.read()
    return body, _JSON if body.lstrip()[:1] in (b"{", b"[") else None


def _checked_json(text: str) -> bytes:
    import json

    try:
        json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--json") from None
    return text.encode()


def _headers(content_type: str | None, accept: str | None) -> dict[str, str]:
    headers = {"content-type": content_type, "accept": accept}
    return {name: value for name, value in headers.items() if value is not None}


def _write(answer: "Answer", output: Path | None) -> None:
    if output is not None:
        with output.open("wb") as target:
            for chunk in answer.chunks():
                target.write(chunk)
        return
    if render.is_terminal() and not _is_readable(answer.content_type):
        answer.close()
        raise InvalidRequest(f"the answer is {answer.content_type}: write it to --output FILE")
    last = b"\n"
    for chunk in answer.chunks():
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        last = chunk[-1:] or last
    if last != b"\n" and render.is_terminal():
        render.out()


def _is_readable(content_type: str) -> bool:
    """Return whether a terminal should show it; a missing type is taken for text."""
    return not content_type or content_type.startswith("text/") or "json" in content_type


def _summary(answer: "Answer") -> str:
    line = render.summary(answer.stages_ms, is_cold=answer.is_cold, cost=answer.cost_dollars)
    return f"{line} · {answer.request_id}" if answer.request_id else line
