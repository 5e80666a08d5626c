"""How much of a device's memory a model may use."""

USABLE_PERCENT = 90
"""The rest is for the driver's context, the allocator's slack and activations."""


def usable_bytes(device_memory_bytes: int) -> int:
    """Return the bytes of a device that model and workspace may fill.

    Worked number: a T4 (15,360 MiB) gives 14.5e9 bytes, so a model of 15 GB does not fit it, and
    the next type up, an A10G (23,028 MiB, 21.7e9 bytes), is the smallest that holds it.
    """
    if device_memory_bytes < 0:
        raise ValueError(f"device memory {device_memory_bytes} must not be negative")
    return device_memory_bytes * USABLE_PERCENT // 100
