"""The doctor: real checks of this machine, and layouts that this machine does not have."""

import socket
import threading
from pathlib import Path

import msgspec
import pytest

from coldspark.node import doctor
from coldspark.node.doctor import CheckStatus, DoctorCheck, DoctorOptions
from coldspark.node.gpu import devices
from coldspark.platform import catalogue

CATALOGUE = catalogue.load()


def rows(question: DoctorOptions) -> dict[str, DoctorCheck]:
    """Examine, and return checks by name."""
    return {check.name: check for check in doctor.examine(question).checks}


@pytest.mark.process
def test_this_machine_is_examined_and_nothing_that_is_needed_is_missing(tmp_path: Path) -> None:
    """A development machine runs the platform: no row says missing, each has a detail."""
    found = rows(DoctorOptions(data=tmp_path / "not-yet", catalogue=CATALOGUE))
    assert {"python", "uv", "gpu", "machine", "cgroups", "fork templates"} <= set(found)
    assert [row for row in found.values() if row.status is CheckStatus.MISSING] == []
    assert all(row.detail for row in found.values())
    assert found["fork templates"].status is CheckStatus.OK
    assert list(tmp_path.iterdir()) == []


def test_simulated_devices_are_called_simulated(tmp_path: Path) -> None:
    """A rehearsal never looks like hardware."""
    declared = devices.simulated("A10G:2", CATALOGUE)
    row = rows(DoctorOptions(data=tmp_path, catalogue=CATALOGUE, simulated=declared))[
        "simulated gpu"
    ]
    assert row.detail.startswith("2 x A10G (24.1 GB): simulated")


def test_a_taken_port_is_told_with_its_cure(tmp_path: Path) -> None:
    """Before the server fails to start."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = ("127.0.0.1", int(holder.getsockname()[1]))
        row = rows(DoctorOptions(data=tmp_path, catalogue=CATALOGUE, address=address))["port"]
    assert row.status is CheckStatus.WARN
    assert row.cure is not None


def test_a_check_that_hangs_becomes_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead network disk does not hang the doctor."""
    monkeypatch.setattr(doctor, "_CHECK_TIMEOUT_S", 0.05)
    released = threading.Event()
    row = doctor._bounded("disk space", lambda: released.wait(5) and None)  # type: ignore[arg-type, return-value, func-returns-value]
    released.set()
    assert row is not None
    assert row.detail == "gave no answer within 0.05 s"


def test_a_check_that_breaks_becomes_a_row() -> None:
    """The other rows are still shown."""

    def broken() -> DoctorCheck:
        raise OSError("no such thing")

    row = doctor._bounded("pidfd", broken)
    assert row is not None
    assert row.detail == "could not be examined: no such thing"


def test_cgroup_v2_without_delegation_warns(tmp_path: Path) -> None:
    """A group that offers memory alone enforces memory alone."""
    group = tmp_path / "sys/fs/cgroup/mine"
    group.mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("cpu memory pids\n")
    (group / "cgroup.controllers").write_text("memory\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/mine\n")
    row = doctor.check_cgroups(tmp_path)
    assert row.status is CheckStatus.WARN
    assert row.detail == "v2; writable: memory, freezer; not enforced: cpu, pids"


def test_cgroup_v1_with_every_tree_is_fine(tmp_path: Path) -> None:
    """Each controller has its own tree."""
    for kind in ("memory", "cpu", "pids", "freezer"):
        (tmp_path / "sys/fs/cgroup" / kind).mkdir(parents=True)
    assert doctor.check_cgroups(tmp_path).detail == "v1; writable: memory, cpu, pids, freezer"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("always [madvise] never\n", CheckStatus.OK),
        ("always madvise [never]\n", CheckStatus.WARN),
        (None, CheckStatus.WARN),
    ],
)
def test_huge_pages_are_read(tmp_path: Path, text: str | None, status: CheckStatus) -> None:
    """The word in brackets is in force."""
    if text is not None:
        folder = tmp_path / "sys/kernel/mm/transparent_hugepage"
        folder.mkdir(parents=True)
        (folder / "enabled").write_text(text)
    assert doctor.check_huge_pages(tmp_path).status is status


def test_a_report_is_plain_data() -> None:
    """The API sends it as JSON; the worst row is its status."""
    report = doctor.DoctorReport(
        checks=(
            DoctorCheck(name="a", status=CheckStatus.OK, detail="fine"),
            DoctorCheck(name="b", status=CheckStatus.WARN, detail="less so", cure="do it"),
        )
    )
    assert report.status is CheckStatus.WARN
    assert msgspec.to_builtins(report.checks[1]) == {
        "name": "b",
        "status": "warn",
        "detail": "less so",
        "cure": "do it",
    }


def test_uncompiled_is_told_with_its_cure() -> None:
    """Whoever runs plain Python learns what it costs and what to do."""
    plain, built = doctor.check_hot_path([]), doctor.check_hot_path(["fleet/fleet.py"])
    assert plain.status is CheckStatus.WARN
    assert "plain Python" in plain.detail
    assert "make compile" in (plain.cure or "")
    assert built.status is CheckStatus.OK
    assert built.detail == "compiled to machine code: 1 modules"
