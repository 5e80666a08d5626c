"""How much memory a process holds: for others that share with it, and for itself alone."""

from pathlib import Path


def tree_memory_bytes(pid: int) -> int:
    """Return the memory that would be free without this process and its forks; 0: it is gone.

    Forks share its private pages, so its part of those (Pss) would say a half with one fork, a
    third with two. Of mapped files it is its part that counts.
    """
    sizes = _sizes(pid)
    part = sizes.get("Pss:", 0)
    if "Pss_Anon:" not in sizes:
        # A kernel that does not tell the two apart.
        return part
    return sizes.get("Anonymous:", 0) + part - sizes["Pss_Anon:"]


def private_memory_bytes(pid: int) -> int:
    """Return what a fork holds that nobody shares; 0: it is gone."""
    sizes = _sizes(pid)
    return sizes.get("Private_Clean:", 0) + sizes.get("Private_Dirty:", 0)


def _sizes(pid: int) -> dict[str, int]:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return {}
    rows = (line.split() for line in text.splitlines()[1:])
    return {row[0]: int(row[1]) * 1024 for row in rows}
