"""Root causes: what was seen of a replica that ended, and the sentence that names the cure."""

import pytest

from coldspark.node.root_cause import ExitEvidence, describe_status, diagnose
from coldspark.spec.types import GIB, RootCause

LOGS = [
    (
        "FileNotFoundError: [Errno 2] No such file or directory: '/m/model.pt'",
        RootCause.MODEL_FILE_MISSING,
        "/m/model.pt",
    ),
    ("cat: weights.bin: No such file or directory", RootCause.MODEL_FILE_MISSING, "weights.bin"),
    (
        "OSError: /m does not appear to have a file named config.json. Checkout",
        RootCause.MODEL_FILE_MISSING,
        "config.json",
    ),
    (
        "python: can't open file '/x/serve.py': [Errno 2]",
        RootCause.MODEL_FILE_MISSING,
        "/x/serve.py",
    ),
    (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
        RootCause.OUT_OF_MEMORY,
        "larger GPU",
    ),
    ("MemoryError", RootCause.OUT_OF_MEMORY, "memory_bytes"),
    ("OSError: [Errno 12] Cannot allocate memory", RootCause.OUT_OF_MEMORY, "memory_bytes"),
    (
        "ModuleNotFoundError: No module named 'torch'",
        RootCause.IMPORT_ERROR,
        "'torch': add its package to requirements.txt",
    ),
    (
        "ImportError: libGL.so.1: cannot open shared object file: No such file or directory",
        RootCause.IMPORT_ERROR,
        "libGL.so.1",
    ),
    (
        "ImportError: cannot import name 'x' from 'y'",
        RootCause.IMPORT_ERROR,
        "cannot import name 'x'",
    ),
    ("SyntaxError: invalid syntax", RootCause.HANDLER_INVALID, "does not parse"),
    (
        "OSError: [Errno 98] Address already in use",
        RootCause.PORT_NEVER_OPENED,
        "$SAGEMAKER_BIND_TO_PORT",
    ),
    ("Killed", RootCause.KILLED, "killed from outside"),
]


@pytest.mark.parametrize(("line", "cause", "words"), LOGS)
def test_a_log_line_names_cause_and_cure(line: str, cause: RootCause, words: str) -> None:
    """The last telling line decides, even with noise after it."""
    evidence = ExitEvidence(exit_status=1, log_tail=("loading", line, "bye"))

    found, message = diagnose(evidence)

    assert found is cause
    assert words in message
    assert message.endswith("(exit status 1)")


def test_the_kernels_word_comes_first() -> None:
    """Out of memory by the cgroup's count beats what the log says, and states the limit."""
    evidence = ExitEvidence(
        exit_status=-9, oom_limit_bytes=2 * GIB, log_tail=("ModuleNotFoundError: No module 'x'",)
    )

    assert diagnose(evidence) == (
        RootCause.OUT_OF_MEMORY,
        "It used more than its 2048 MiB of memory: raise memory_bytes. (signal SIGKILL)",
    )


def test_the_replicas_own_word_is_kept_and_gets_its_cure() -> None:
    """BROKEN brings the cause; the message is completed, not replaced."""
    broken = (RootCause.IMPORT_ERROR, "ModuleNotFoundError: No module named 'sklearn'")

    cause, message = diagnose(ExitEvidence(exit_status=78, broken=broken))

    assert cause is RootCause.IMPORT_ERROR
    assert message.startswith("ModuleNotFoundError: No module named 'sklearn': Python found no")


def test_a_command_that_ends_without_a_port_is_told_to_bind_it() -> None:
    """Exit 0 before the port opened: it went to the background, or did nothing."""
    cause, message = diagnose(ExitEvidence(exit_status=0, unopened_port=4711))

    assert cause is RootCause.PORT_NEVER_OPENED
    assert "4711" in message
    assert "foreground" in message


def test_a_command_stopped_while_its_port_is_closed_is_told_the_same() -> None:
    """The fleet's start timeout stops it; the cause is still the port."""
    cause, _ = diagnose(ExitEvidence(exit_status=-15, unopened_port=4711, was_stopped=True))

    assert cause is RootCause.PORT_NEVER_OPENED


def test_a_stop_is_no_failure() -> None:
    """What the platform asked for is called so, whatever the log holds."""
    evidence = ExitEvidence(exit_status=-15, was_ready=True, was_stopped=True, log_tail=("Killed",))

    assert diagnose(evidence) == (
        RootCause.KILLED,
        "The platform stopped it (signal SIGTERM)",
    )


def test_an_old_log_line_does_not_explain_a_signal() -> None:
    """A replica that served and then crashed natively did not die of a missing file."""
    log = ("FileNotFoundError: [Errno 2] No such file or directory: 'a'",)

    cause, message = diagnose(ExitEvidence(exit_status=-11, was_ready=True, log_tail=log))

    assert cause is RootCause.KILLED
    assert "native code crashed" in message
    assert "SIGSEGV" in message


def test_a_violation_of_the_channel_is_named() -> None:
    """Garbage on the channel is the handler's fault."""
    cause, message = diagnose(ExitEvidence(exit_status=-9, violation="sent what is no frame: x"))

    assert cause is RootCause.HANDLER_INVALID
    assert "sent what is no frame" in message


@pytest.mark.parametrize(
    ("status", "words"),
    [(None, "no process"), (0, "exit status 0"), (-9, "signal SIGKILL"), (-64, "signal")],
)
def test_every_status_has_words(status: int | None, words: str) -> None:
    """Also a signal without a name."""
    assert words in describe_status(status)
    diagnose(ExitEvidence(exit_status=status))


def test_messages_are_bounded() -> None:
    """A line of any length makes a message of at most 500 characters."""
    _, message = diagnose(ExitEvidence(exit_status=1, log_tail=("ImportError: " + "x" * 9_000,)))

    assert len(message) <= 500
