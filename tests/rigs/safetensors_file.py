"""A safetensors file written with the standard library alone."""

import json
import random
from pathlib import Path

BITS = {"F32": 32, "BF16": 16, "F16": 16, "I64": 64, "U8": 8, "BOOL": 8}


def write(path: Path, tensors: dict[str, tuple[str, list[int]]], seed: int = 1) -> dict[str, bytes]:
    """Write random tensors in the given order; return the bytes of each."""
    chance, header, data = random.Random(seed), {}, bytearray()
    contents = {}
    for name, (dtype, shape) in tensors.items():
        count = 1
        for length in shape:
            count *= length
        raw = chance.randbytes(count * BITS[dtype] // 8)
        if dtype == "BOOL":
            raw = bytes(byte & 1 for byte in raw)
        header[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
        contents[name] = raw
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return contents
