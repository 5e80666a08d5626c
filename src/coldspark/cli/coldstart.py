"""``coldstart`` explains wakes and what would make them faster; ``ls --warmth`` draws its table."""

import textwrap
from typing import Annotated, Any

import typer

from coldspark.cli import output, waterfall
from coldspark.cli.options import AsJson, Key, Name, Url, client

_COLDSTART = """
[bold]Examples[/bold]

coldspark coldstart chat     [dim]wakes of the last week, and what would make them faster[/dim]

coldspark coldstart chat --days 30

coldspark coldstart chat --json | jq '.variants[0].advice'
"""


_WIDE = 100


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command(epilog=_COLDSTART)(coldstart)


def coldstart(
    name: Name,
    days: Annotated[int, typer.Option(min=1, max=366, help="How far back.")] = 7,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Report an endpoint's cold starts stage by stage, and what would make them faster."""
    report = client(url, key).coldstart(name, days)
    if as_json:
        output.as_json(report)
        return
    for variant in report["variants"]:
        _show(report, variant)
    if not report["is_complete"]:
        output.note(f"only the newest {report['lines']} requests were looked at: give fewer --days")


def list_warmth(answer: dict[str, Any]) -> None:
    """Show every variant's warmth level, what is held for it, and the totals."""
    headers = ("name", "rung", "template", "memory", "standby", "learned", "idle", "why no higher")
    rows = [
        _row(endpoint, variant)
        for endpoint in answer["endpoints"]
        for variant in endpoint.get("variants", ())
    ]
    if output.is_terminal() and waterfall.width_of_terminal() < _WIDE:
        _show_narrow(headers, rows)
    else:
        output.table(headers, rows)
    pool = answer.get("templates")
    if pool is not None:
        output.out()
        _paragraph(_total(pool))


def _show_narrow(headers: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Show the reasons under the table: in a column they would be a word wide."""
    output.table(headers[:-1], [row[:-1] for row in rows])
    output.out()
    for row in rows:
        if row[-1] is not None:
            _paragraph(f"{row[0]}: {row[-1]}")


def warmth_message(warmth: dict[str, Any]) -> str:
    """Return the warmth level, and why it is not a higher one."""
    why = warmth.get("why")
    return str(warmth["rung"]) if why is None else f"{warmth['rung']} ({why})"


def learned_imports_message(template: dict[str, Any]) -> str:
    """Return how many modules it imports for replicas, and what each is spared."""
    saved = waterfall.duration(template["learned_us"] or 0)
    return f"{template['learned_modules']} modules learned ({saved} saved)"


def _row(endpoint: dict[str, Any], variant: dict[str, Any]) -> tuple[object, ...]:
    is_only = len(endpoint["variants"]) == 1
    warmth = variant["warmth"]
    template = warmth.get("template")
    return (
        endpoint["name"] if is_only else f"{endpoint['name']}/{variant['name']}",
        warmth["rung"],
        None if template is None else f"pid {template['pid']}",
        None if template is None else _size(template["memory_bytes"]),
        None if template is None else _standby(template),
        None if template is None else _learned(template),
        _idle(warmth.get("idle_s")),
        warmth.get("why"),
    )


def _standby(template: dict[str, Any]) -> object:
    return "loaded" if template["has_loaded_standby"] else template["has_standby"]


def _learned(template: dict[str, Any]) -> str | None:
    """Render it in a column's width."""
    if not template["learned_modules"]:
        return None
    return f"{template['learned_modules']} ({waterfall.duration(template['learned_us'] or 0)})"


def _total(pool: dict[str, Any]) -> str:
    return (
        f"templates: {pool['templates']} of at most {pool['templates_max']},"
        f" holding {_size(pool['memory_bytes'])} of at most {_size(pool['memory_bytes_max'])};"
        f" one without a replica ends after {pool['idle_timeout_s']:g} s"
    )


def _show(report: dict[str, Any], variant: dict[str, Any]) -> None:
    is_only = len(report["variants"]) == 1
    title = report["endpoint"] if is_only else f"{report['endpoint']}, variant {variant['name']}"
    output.out(output.bold(f"{title}: cold starts of the last {report['days']} days"))
    output.pairs(_facts(variant), waterfall.width_of_terminal() if output.is_terminal() else None)
    if not variant["wakes"]:
        output.out("no cold start recorded yet")
        return
    _show_stages(variant["stages"])
    output.heading("Woke from")
    rows = [(row["rung"], row["wakes"], *_times(row)) for row in variant["rungs"]]
    output.table(("rung", "wakes", "p50", "p95"), rows)
    _show_advice(variant)


def _facts(variant: dict[str, Any]) -> dict[str, object]:
    template = variant.get("template")
    facts: dict[str, object] = {
        "revision": variant["revision"],
        "wakes": _wakes(variant),
        "now": warmth_message(variant["warmth"]),
        "files": _files(variant["stock"]),
    }
    if template is not None:
        facts["template"] = _template(template)
    return facts


def _wakes(variant: dict[str, Any]) -> str:
    text = f"{variant['wakes']}, waited for by {_requests(variant['cold_requests'])}"
    if variant["failed"]:
        text += f"; {_requests(variant['failed'])} saw a start fail"
    if variant["older_wakes"]:
        text += f"; {variant['older_wakes']} of earlier revisions are left out"
    return text


def _requests(number: int) -> str:
    return "1 request" if number == 1 else f"{number} requests"


def _files(cache: dict[str, Any]) -> str:
    environment = "the platform's own"
    if cache["has_own_environment"] is None:
        environment = "not known"
    elif cache["has_own_environment"]:
        environment = _size(cache["environment_bytes"]) or "not known"
    parts = {
        "code": _size(cache["code_bytes"]),
        "model": _size(cache["model_bytes"]),
        "environment": environment,
    }
    return ", ".join(f"{name} {value}" for name, value in parts.items() if value is not None)


def _template(template: dict[str, Any]) -> str:
    """Return what the template holds and how long it took to load."""
    if not template["is_settled"]:
        return f"pid {template['pid']} still imports"
    text = [f"holds {_size(template['memory_bytes'])}"]
    if template["import_us"] is not None:
        text.append(f"imports took {waterfall.duration(template['import_us'])}")
    if template["load_us"] is not None:
        text.append(f"loading the model {waterfall.duration(template['load_us'])}")
    if template["learned_modules"]:
        text.append(learned_imports_message(template))
    if template["denied_modules"]:
        name, reason = next(iter(template["denied_modules"].items()))
        text.append(f"{len(template['denied_modules'])} not learned ({name}: {reason})")
    if template["reason"]:
        text.append(template["reason"])
    if template["has_loaded_standby"]:
        text.append("the process that stands by has loaded it")
    return ", ".join(text)


def _show_stages(stages: list[dict[str, Any]]) -> None:
    output.heading("Stages")
    shown = [row for row in stages if row["p95_us"] or row["stage"] == "start"]
    output.table(("stage", "p50", "p95"), [(row["stage"], *_times(row)) for row in shown])


def _times(row: dict[str, Any]) -> tuple[str, str]:
    return waterfall.duration(row["p50_us"]), waterfall.duration(row["p95_us"])


def _show_advice(variant: dict[str, Any]) -> None:
    output.heading("What would make it faster (gains are estimates from the stages above)")
    if not variant["advice"]:
        output.out("nothing that these cold starts show")
    for advice in variant["advice"]:
        gain = waterfall.duration(advice["gain_us"])
        scope = f"in {advice['wakes']} of {variant['wakes']} wakes"
        _paragraph(f"- about {gain} {scope}: {advice['finding']}")
        _paragraph(f"  {advice['cure']}")


def _paragraph(text: str) -> None:
    """Write text that folds to a terminal, its later lines under its first word."""
    if not output.is_terminal():
        output.out(text)
        return
    for line in textwrap.wrap(text, waterfall.width_of_terminal(), subsequent_indent="  "):
        output.out(line)


def _size(size_bytes: int | None) -> str | None:
    from coldspark.spec.units import format_size

    return None if size_bytes is None else format_size(size_bytes)


def _idle(seconds: float | None) -> str | None:
    from coldspark.spec.units import format_duration

    return None if seconds is None else format_duration(seconds)
