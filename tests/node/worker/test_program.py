"""What breaks at import or load is put in words that a person can act on."""

import sys
from pathlib import Path

import pytest

from coldspark.node.worker import program
from coldspark.spec.types import RootCause


def _raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001
        return caught


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ModuleNotFoundError("x"), RootCause.IMPORT_ERROR),
        (SyntaxError("x"), RootCause.IMPORT_ERROR),
        (FileNotFoundError("x"), RootCause.MODEL_FILE_MISSING),
        (OSError(2, "No such file"), RootCause.MODEL_FILE_MISSING),
        (PermissionError(13, "no"), RootCause.UNKNOWN),
        (MemoryError(), RootCause.OUT_OF_MEMORY),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), RootCause.OUT_OF_MEMORY),
        (program.HandlerInvalid("x"), RootCause.HANDLER_INVALID),
        (ZeroDivisionError(), RootCause.UNKNOWN),
    ],
)
def test_cause_is_recognised(error: BaseException, cause: RootCause) -> None:
    """The words are the core's own."""
    assert RootCause(program.explain(_raised(error)).cause) is cause


def test_message_and_traceback_are_bounded() -> None:
    """A huge message does not make a huge frame."""
    breakage = program.explain(_raised(ValueError("x" * 1_000_000)))
    assert len(breakage.message) == program.MESSAGE_CHARS_MAX
    assert len(breakage.traceback.encode()) <= program.TRACEBACK_BYTES_MAX + 3


def test_error_whose_text_cannot_be_read_is_still_named() -> None:
    """A broken __str__ does not hide the error."""

    class Sly(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert program.message(Sly()) == "Sly: (its message could not be read)"


def test_syntax_error_shows_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's line, without the frames of the import machinery."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    path = tmp_path / "broken_program.py"
    path.write_text("def predict_fn(:\n")
    with pytest.raises(SyntaxError) as caught:
        program.load(str(path), [])
    breakage = program.explain(caught.value)
    assert "def predict_fn(:" in breakage.traceback
    assert "importlib" not in breakage.traceback


def test_program_named_like_a_module_of_python_does_not_replace_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's json.py is loaded under a name of its own."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    path = tmp_path / "json.py"
    path.write_text("mine = True\n")
    assert program.load(str(path), []).mine
    assert sys.modules["json"].__file__ != str(path)
    del sys.modules["coldspark_program_json"]
