"""Hold 256 MiB of a device by libcuda alone, and say on each line whether it is as it was."""

import ctypes
import sys

SIZE_BYTES = 256 * 1024**2
PROBE_BYTES = 1024**2
_PATTERN = 0xA5


class Memory:
    """One allocation in the primary context of the first visible device."""

    def __init__(self) -> None:
        self._cuda = ctypes.CDLL("libcuda.so.1")
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self._address = ctypes.c_uint64()
        self._do("cuInit", ctypes.c_uint(0))
        self._do("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        self._do("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._do("cuCtxSetCurrent", context)
        self._do("cuMemAlloc_v2", ctypes.byref(self._address), ctypes.c_size_t(SIZE_BYTES))
        size = ctypes.c_size_t(SIZE_BYTES)
        self._do("cuMemsetD8_v2", self._address, ctypes.c_ubyte(_PATTERN), size)
        self._do("cuCtxSynchronize")

    def is_whole(self) -> bool:
        """Return whether its last bytes are what was written."""
        back = ctypes.create_string_buffer(PROBE_BYTES)
        at = ctypes.c_uint64(self._address.value + SIZE_BYTES - PROBE_BYTES)
        self._do("cuMemcpyDtoH_v2", back, at, ctypes.c_size_t(PROBE_BYTES))
        return back.raw == bytes([_PATTERN]) * PROBE_BYTES

    def _do(self, call: str, *arguments: object) -> None:
        result = getattr(self._cuda, call)(*arguments)
        if result != 0:
            raise RuntimeError(f"{call} said {result}")


if __name__ == "__main__":
    memory = Memory()
    sys.stdout.write("holds\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        sys.stdout.write(f"{memory.is_whole()}\n")
        sys.stdout.flush()
