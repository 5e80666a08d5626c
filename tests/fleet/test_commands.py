"""Commands: which paths a server may be asked by."""

import pytest

from coldspark.spec.types import Command


def test_a_command_may_be_called_at_freeze_and_thaw() -> None:
    """By two paths, with queries."""
    command = Command(argv=("x",), park_path="/sleep?level=1", unpark_path="/wake_up")
    assert (command.park_path, command.unpark_path) == ("/sleep?level=1", "/wake_up")


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ({"park_path": "sleep", "unpark_path": "/wake"}, "must start with /"),
        ({"park_path": "/sleep"}, "belong together"),
        ({"unpark_path": "/wake"}, "belong together"),
        ({"park_path": "/a b", "unpark_path": "/wake"}, "without spaces"),
        ({"park_path": "/a\r\nhost: b", "unpark_path": "/wake"}, "without spaces"),
        ({"ping_path": "/é"}, "printable ASCII"),
    ],
)
def test_paths_that_cannot_be_are_refused(paths: dict[str, str], words: str) -> None:
    """A server that was put to sleep must be woken; a path is no way to write a header."""
    with pytest.raises(ValueError, match=words):
        Command(argv=("x",), **paths)  # type: ignore[arg-type]
