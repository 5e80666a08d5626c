"""Whether the hot path runs compiled, and that what was compiled is what the sources say.

``make compile`` puts machine code of some modules beside links to all sources, in a tree of its
own. Python prefers the machine code, so a source that was changed since would be passed over
without a word: a tree that does not fit its sources, or this Python, is refused at import.
"""

import hashlib
import json
import sysconfig
from pathlib import Path

MANIFEST = "compiled.json"
"""Lies beside this file in a compiled tree: the modules and the SHA-256 of their sources."""


def write_manifest(package: Path, names: list[str]) -> None:
    """Note which sources, relative to ``package``, were compiled, and for which Python."""
    sources = {name: _sha256(package / name) for name in names}
    manifest = {"suffix": _suffix(), "sources": sources}
    (package / MANIFEST).write_text(json.dumps(manifest, indent=1))


def refuse_if_stale(package: Path = Path(__file__).parent) -> None:
    """Raise ImportError if ``package`` was compiled from other sources, or for another Python."""
    manifest = json.loads((package / MANIFEST).read_text())
    if manifest["suffix"] != _suffix():
        raise ImportError(
            f"{package} was compiled for {manifest['suffix']}, and this Python wants {_suffix()}:"
            " run `make compile` with it, or run without the compiled tree"
        )
    changed = [
        name
        for name, sha256 in manifest["sources"].items()
        if not (package / name).exists() or _sha256(package / name) != sha256
    ]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise ImportError(
            f"{package} was compiled before {', '.join(changed[:3])}{more} changed: run"
            " `make compile`, or run without the compiled tree"
        )


def modules(package: Path = Path(__file__).parent) -> list[str]:
    """Return the sources that run as machine code; none where Python runs all of them."""
    manifest = package / MANIFEST
    return list(json.loads(manifest.read_text())["sources"]) if manifest.exists() else []


def _suffix() -> str:
    return str(sysconfig.get_config_var("EXT_SUFFIX"))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
