"""What runs for an image's name: there is no container engine here, so names are mapped, as data.

Images that AWS publishes for handler functions (``model_fn`` and so on) run as a handler under
this machine's own Python; DescribeEndpoint shows it as ``ResolvedImage``. An image that brings a
server of its own cannot be run yet, and is refused with what to use instead.
"""

import re
import shlex
from collections.abc import Mapping

from coldspark.core.types import Command, Handler
from coldspark.gateway.aws.errors import invalid

HANDLER_IMAGE = "coldspark/python"
COMMAND_IMAGE = "coldspark/command"

_ECR = r"\d{12}\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?/"
_HANDLER_REPOSITORIES = (
    "pytorch-inference",
    "tensorflow-inference",
    "mxnet-inference",
    "huggingface-pytorch-inference",
    "huggingface-tensorflow-inference",
    "sagemaker-scikit-learn",
)
_TAG = r"(?:[:@]\S+)?"
_IMAGES = (
    (re.compile(re.escape(HANDLER_IMAGE) + _TAG), HANDLER_IMAGE),
    (re.compile(re.escape(COMMAND_IMAGE) + _TAG), COMMAND_IMAGE),
    (re.compile(f"{_ECR}(?:{'|'.join(_HANDLER_REPOSITORIES)}){_TAG}"), HANDLER_IMAGE),
)


def resolve(image: str) -> str | None:
    """Return which of the two runtimes runs for an image, or None."""
    return next((runtime for pattern, runtime in _IMAGES if pattern.fullmatch(image)), None)


def runtime_of(image: str | None, environment: Mapping[str, str]) -> Handler | Command:
    """Return the handler or command that an image stands for. Raises a ValidationException."""
    resolved = None if image is None else resolve(image)
    if resolved is None:
        problem = f"Image '{image}' cannot be run, as images are not run yet"
        invalid(
            f"{'The model needs an Image' if image is None else problem}: use '{HANDLER_IMAGE}' "
            "for a handler file (model_fn, predict_fn, ...) in the model archive, or "
            f"'{COMMAND_IMAGE}' with the environment variable COLDSPARK_COMMAND for a server. "
            "AWS's own images of pytorch-inference, huggingface-pytorch-inference, "
            "tensorflow-inference, mxnet-inference and sagemaker-scikit-learn are run as "
            f"'{HANDLER_IMAGE}'.",
            field="Image",
        )
    try:
        return _command(environment) if resolved == COMMAND_IMAGE else _handler(environment)
    except ValueError as error:
        invalid(f"The model's environment is not valid: {error}.", field="Environment")


def _handler(environment: Mapping[str, str]) -> Handler:
    for name in ("COLDSPARK_COMMAND", "COLDSPARK_PING_PATH", "COLDSPARK_INVOKE_PATH"):
        if name in environment:
            raise ValueError(f"{name} needs the image '{COMMAND_IMAGE}'")
    return Handler(
        program=environment.get("SAGEMAKER_PROGRAM", "inference.py"),
        requirements=_requirements(environment),
    )


def _command(environment: Mapping[str, str]) -> Command:
    text = environment.get("COLDSPARK_COMMAND", "")
    try:
        argv = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"COLDSPARK_COMMAND={text!r} cannot be split: {error}") from None
    if not argv:
        raise ValueError(
            "COLDSPARK_COMMAND must name the program that serves, such as 'python server.py'"
        )
    return Command(
        argv=argv,
        ping_path=environment.get("COLDSPARK_PING_PATH", "/ping"),
        invoke_path=environment.get("COLDSPARK_INVOKE_PATH", "/invocations"),
        requirements=_requirements(environment),
    )


def _requirements(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Split at line ends; a text of one line is split at spaces."""
    text = environment.get("COLDSPARK_REQUIREMENTS", "").strip()
    lines = text.splitlines() if "\n" in text else text.split()
    return tuple(line.strip() for line in lines if line.strip())
