"""What is known of GPU types and AWS instance types, and how people write a wish for them."""

import difflib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from coldspark.spec.messages import Device
from coldspark.spec.types import GIB, MIB, GpuRequest, usable_bytes

_DATA = Path(__file__).with_name("catalogue.toml")
_VENDOR_WORDS = re.compile(r"^(nvidia|tesla|geforce)-")
_MIG = re.compile(r"(?:.*-)?mig-(\d+g)\.(\d+)gb(?:\+me)?")
_ASK = re.compile(r"\s*(?P<name>[^:/]+?)\s*(?::\s*(?P<count>\d+))?\s*(?:/\s*(?P<share>[\d.]+))?\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuType:
    """One type of device, with what a replica on it gets unless it says otherwise."""

    name: str
    memory_bytes: int
    """As the driver reports it: less than the number on the box."""
    nominal_gb: int
    vcpus: float = 4.0
    host_memory_bytes: int = 6 * GIB
    is_recommended: bool = False
    """Offered when a model asks for the smallest type that fits."""

    @property
    def usable_bytes(self) -> int:
        """Return the bytes that a model may fill."""
        return usable_bytes(self.memory_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceType:
    """One AWS instance type, read as a wish for resources."""

    name: str
    gpu: str | None
    gpu_count: int
    vcpus: float
    memory_bytes: int


class Catalogue:
    """Look types up by any name that people and drivers give them."""

    def __init__(
        self,
        gpus: Iterable[GpuType],
        aliases: dict[str, str],
        sizes: dict[str, str],
        instances: Iterable[InstanceType],
    ) -> None:
        self._gpus = {gpu.name: gpu for gpu in gpus}
        self._names = {_plain(name): name for name in self._gpus}
        self._names |= {_plain(alias): name for alias, name in (aliases | sizes).items()}
        self._aliases = aliases
        self._sizes = sizes
        self._instances = {instance.name: instance for instance in instances}

    @property
    def gpus(self) -> tuple[GpuType, ...]:
        """Return every type, in the order of the data file."""
        return tuple(self._gpus.values())

    @property
    def instances(self) -> tuple[InstanceType, ...]:
        """Return every instance type, in the order of the data file."""
        return tuple(self._instances.values())

    def gpu(self, name: str) -> GpuType | None:
        """Return a type by name, alias, size word or the driver's product name."""
        plain = _plain(name)
        if plain in self._names:
            return self._gpus[self._names[plain]]
        return _mig_slice(plain)

    def instance(self, name: str) -> InstanceType | None:
        """Return an instance type; ``ml.`` may be left out."""
        lower = name.strip().lower()
        return self._instances.get(lower) or self._instances.get(f"ml.{lower}")

    def parse_gpu(self, text: str) -> tuple[GpuRequest, ...]:
        """Read ``A10G``, ``A100:4``, ``A10G/0.5``, ``L4,A10G``, ``small`` or ``none``.

        Commas separate alternatives, the first that fits wins. Raises ValueError.
        """
        if text.strip().lower() in ("", "none", "cpu"):
            return ()
        return tuple(self._parse_one(part) for part in text.split(","))

    def smallest_that_fits(self, memory_bytes: int) -> GpuType | None:
        """Return the smallest recommended type that holds a model, or None when none does."""
        fitting = [g for g in self.gpus if g.is_recommended and g.usable_bytes >= memory_bytes]
        return min(fitting, key=lambda gpu: gpu.memory_bytes, default=None)

    def including(self, devices: Iterable[Device]) -> "Catalogue":
        """Return a catalogue that also knows the types of these devices."""
        unknown = {device.type: device for device in devices if self.gpu(device.type) is None}
        types = [
            GpuType(
                name=name,
                memory_bytes=device.memory_bytes,
                nominal_gb=round(device.memory_bytes / GIB),
            )
            for name, device in unknown.items()
        ]
        return Catalogue((*self.gpus, *types), self._aliases, self._sizes, self._instances.values())

    def near_names(self, name: str) -> list[str]:
        """Return up to three type names that look like a misspelt one."""
        close = difflib.get_close_matches(_plain(name), self._names, n=6, cutoff=0.5)
        return list(dict.fromkeys(self._names[plain] for plain in close))[:3]

    def _parse_one(self, text: str) -> GpuRequest:
        match = _ASK.fullmatch(text)
        if match is None:
            raise ValueError(
                f"gpu {text.strip()!r} is not understood: write such as A10G, A100:4 or A10G/0.5"
            )
        gpu = self.gpu(match["name"])
        if gpu is None:
            raise ValueError(self._unknown(match["name"]))
        return GpuRequest(
            type=gpu.name,
            count=int(match["count"] or 1),
            fraction=_fraction(match["share"] or "1"),
        )

    def _unknown(self, name: str) -> str:
        near = self.near_names(name) or [gpu.name for gpu in self.gpus if gpu.is_recommended]
        return f"gpu type {name!r} is not known: did you mean {', '.join(near)}?"


@cache
def load() -> Catalogue:
    """Return the catalogue that ships with coldspark."""
    data = tomllib.loads(_DATA.read_text(encoding="utf-8"))
    aliases = {alias: row["name"] for row in data["gpus"] for alias in row.get("aliases", ())}
    instances = [instance for row in data["instances"] for instance in _instances(row)]
    return Catalogue(map(_gpu, data["gpus"]), aliases, data["sizes"], instances)


def _gpu(row: dict[str, Any]) -> GpuType:
    return GpuType(
        name=row["name"],
        memory_bytes=row["memory_mib"] * MIB,
        nominal_gb=row["nominal_gb"],
        vcpus=float(row["vcpus"]),
        host_memory_bytes=row["host_gb"] * GIB,
        is_recommended=row.get("is_recommended", False),
    )


def _instances(row: dict[str, Any]) -> Iterable[InstanceType]:
    for family in (row["family"], *row.get("also", ())):
        for size, (vcpus, memory_gib, gpu_count) in row["sizes"].items():
            yield InstanceType(
                name=f"{family}.{size}",
                gpu=row.get("gpu"),
                gpu_count=gpu_count,
                vcpus=float(vcpus),
                memory_bytes=int(memory_gib * GIB),
            )


def _plain(name: str) -> str:
    plain = re.sub(r"[\s_]+", "-", name.strip().lower())
    while (shorter := _VENDOR_WORDS.sub("", plain)) != plain:
        plain = shorter
    return plain


def _mig_slice(plain: str) -> GpuType | None:
    """Read a MIG profile (``mig-3g.40gb``): its own name says how large it is."""
    match = _MIG.fullmatch(plain)
    if match is None:
        return None
    return GpuType(
        name=f"MIG-{match[1]}.{match[2]}gb",
        memory_bytes=int(match[2]) * GIB,
        nominal_gb=int(match[2]),
        vcpus=2.0,
        host_memory_bytes=4 * GIB,
    )


def _fraction(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"gpu share {text!r} must be a number such as 0.5") from None
