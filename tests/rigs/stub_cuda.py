"""A libcuda of a few lines of C: the real calls by ctypes, against memory that a file stands for.

``STATE/<pid>`` holds the state of a process as a number, ``STATE/<pid>.bytes`` what it holds of the
device. ``STATE/fail-<call>`` holds a result that this call gives instead; ``STATE/hang-<call>``
makes it hang; ``STATE/leak`` makes a checkpoint leave the memory where it is. ``STATE/calls`` is
every call, one a line.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

RUNNING, LOCKED, CHECKPOINTED = 0, 1, 2
_SOURCE = r"""
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct { unsigned int timeoutMs; unsigned int reserved0; uint64_t reserved1[7]; } LockArgs;
static int is_initialised;

static int number(const char *name, int otherwise) {
    char path[4096]; int value = otherwise;
    snprintf(path, sizeof path, "%s/%s", STATE, name);
    FILE *file = fopen(path, "r");
    if (file) { if (fscanf(file, "%d", &value) != 1) value = otherwise; fclose(file); }
    return value;
}
static void put(const char *name, const char *mode, const char *text) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", STATE, name);
    FILE *file = fopen(path, mode);
    if (file) { fputs(text, file); fclose(file); }
}
static int begin(const char *call, int pid) {
    char words[128];
    snprintf(words, sizeof words, "%s %d\n", call, pid);
    put("calls", "a", words);
    snprintf(words, sizeof words, "hang-%s", call);
    while (number(words, 0)) usleep(10000);
    snprintf(words, sizeof words, "fail-%s", call);
    return number(words, 0);
}
static int step(const char *call, int pid, int from, int to) {
    char name[32], text[32];
    int result = begin(call, pid);
    if (result) return result;
    snprintf(name, sizeof name, "%d", pid);
    if (number(name, -1) < 0) return 1;
    if (number(name, -1) != from) return 401;
    snprintf(text, sizeof text, "%d", to);
    put(name, "w", text);
    return 0;
}
int cuInit(unsigned int flags) { is_initialised = 1; return begin("init", (int)flags); }
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
#ifndef OLD
int cuCheckpointProcessGetState(int pid, int *state) {
    char name[32];
    snprintf(name, sizeof name, "%d", pid);
    *state = number(name, -1);
    return *state < 0 ? 1 : 0;
}
int cuCheckpointProcessGetRestoreThreadId(int pid, int *tid) { *tid = pid + 1; return 0; }
int cuCheckpointProcessLock(int pid, LockArgs *args) {
    if (!args || args->timeoutMs == 0 || args->reserved0) return 1;
    for (int i = 0; i < 7; i++) if (args->reserved1[i]) return 1;
    return step("lock", pid, 0, 1);
}
int cuCheckpointProcessCheckpoint(int pid, void *args) {
    char name[32];
    int result = args ? 1 : step("checkpoint", pid, 1, 2);
    snprintf(name, sizeof name, "%d.bytes", pid);
    if (result == 0 && !number("leak", 0)) put(name, "w", "0");
    return result;
}
int cuCheckpointProcessRestore(int pid, void *args) {
    if (!is_initialised) return 3;
    return args ? 1 : step("restore", pid, 2, 1);
}
int cuCheckpointProcessUnlock(int pid, void *args) {
    return args ? 1 : step("unlock", pid, 1, 0);
}
#endif
"""


class StubCuda:
    """One compiled library and the directory of its state."""

    def __init__(self, directory: Path, *, version: int = 12_080, is_old: bool = False) -> None:
        compiler = shutil.which("gcc")
        if compiler is None:
            pytest.skip("no gcc here: the ctypes bindings were NOT tried against a library")
        self.state = directory / "state"
        self.state.mkdir(parents=True)
        self.library = str(directory / "libcuda-stub.so")
        source = directory / "stub.c"
        source.write_text(_SOURCE)
        flags = [f'-DSTATE="{self.state}"', f"-DVERSION={version}", *(["-DOLD"] if is_old else [])]
        strict = ["-Wall", "-Werror", "-Wno-unused"]
        command = [compiler, "-shared", "-fPIC", *strict, *flags, "-o", self.library]
        subprocess.run([*command, str(source)], check=True, timeout=60)

    def put(self, name: str, value: int) -> None:
        """Set one number."""
        (self.state / name).write_text(str(value))

    def get(self, name: str | int) -> int:
        """Return one number."""
        return int((self.state / str(name)).read_text())

    def clear(self, name: str) -> None:
        """Let a call do again what it should."""
        (self.state / name).unlink()

    def calls(self) -> list[str]:
        """Return what was called, in order."""
        file = self.state / "calls"
        return file.read_text().splitlines() if file.exists() else []
