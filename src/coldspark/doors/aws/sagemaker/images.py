"""What runs for an image's name: there is no container engine here, so names are mapped, as data.

The server's own ``[server.images]`` counts first. Images that AWS publishes for handler functions
(``model_fn`` and so on) run as a handler under this machine's own Python; DescribeEndpoint shows it
as ``ResolvedImage``. Any other image may stand in a model, as on AWS, which does not look at it
there either; what would run it (an endpoint config, an endpoint) is refused with the line that the
configuration lacks.
"""

import fnmatch
import re
import shlex
from collections.abc import Mapping

from coldspark.config import Image
from coldspark.doors.aws.protocol.errors import invalid
from coldspark.spec.types import OWN_REQUIREMENTS, Command, HandlerProgram

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
    "sagemaker-xgboost",
)
_TAG = r"(?:[:@]\S+)?"
_IMAGES = (
    (re.compile(re.escape(HANDLER_IMAGE) + _TAG), HANDLER_IMAGE),
    (re.compile(re.escape(COMMAND_IMAGE) + _TAG), COMMAND_IMAGE),
    (re.compile(f"{_ECR}(?:{'|'.join(_HANDLER_REPOSITORIES)}){_TAG}"), HANDLER_IMAGE),
)
_COMMAND_VARIABLES = ("COLDSPARK_COMMAND", "COLDSPARK_PING_PATH", "COLDSPARK_INVOKE_PATH")


class ImageCatalogue:
    """The images that are known: those of the configuration, then AWS's and this server's own."""

    def __init__(self, configured: Mapping[str, Image] | None = None) -> None:
        """``configured``: patterns in which ``*`` is any text; the first that fits counts."""
        self._configured = [
            (re.compile(fnmatch.translate(pattern)), image)
            for pattern, image in (configured or {}).items()
        ]

    def resolve(self, image: str) -> str | None:
        """Return which of the two runtimes runs for an image, or None."""
        own = self._own(image)
        if own is not None:
            return HANDLER_IMAGE if own.command is None else COMMAND_IMAGE
        return next((runtime for pattern, runtime in _IMAGES if pattern.fullmatch(image)), None)

    def check(self, image: str | None, environment: Mapping[str, str]) -> None:
        """Refuse a model whose image is known, and whose variables do not go with it."""
        if image is None or self.resolve(image) is not None:
            self.runtime_of(image, environment)

    def runtime_of(
        self, image: str | None, environment: Mapping[str, str]
    ) -> HandlerProgram | Command:
        """Return the handler or command that an image stands for. Raises a ValidationException."""
        resolved = None if image is None else self.resolve(image)
        if image is None or resolved is None:
            invalid(_unknown(image), field="Image")
        own = self._own(image)
        try:
            if own is not None:
                return _configured(own, environment)
            return _command(environment) if resolved == COMMAND_IMAGE else _handler(environment)
        except ValueError as error:
            invalid(f"The model's environment is not valid: {error}.", field="Environment")

    def _own(self, image: str) -> Image | None:
        return next((one for pattern, one in self._configured if pattern.match(image)), None)


def _unknown(image: str | None) -> str:
    if image is None:
        return (
            f"The model needs an Image: use '{HANDLER_IMAGE}' for a handler file (model_fn, "
            f"predict_fn, ...) in the model archive, or '{COMMAND_IMAGE}' with the environment "
            "variable COLDSPARK_COMMAND for a server."
        )
    pattern = re.sub(r"(?<=[^/])[:@][^/]*$", "", image) + "*"
    return (
        f"Image '{image}' is not run here, as there is no container engine. Say in the server's "
        "coldspark.toml, under [server.images], what runs for it: "
        f'"{pattern}" = {{ handler = "inference.py" }} for a file with model_fn and the rest in '
        f'the model archive, or "{pattern}" = {{ command = "python server.py" }} for a server; '
        f"or use the image '{HANDLER_IMAGE}' or '{COMMAND_IMAGE}'."
    )


def _configured(image: Image, environment: Mapping[str, str]) -> HandlerProgram | Command:
    own = _requirements(environment)
    # Without requirements of either, the code's own file counts by itself.
    lines = (*image.requirements, *(own or (OWN_REQUIREMENTS,))) if image.requirements else own
    if image.command is None:
        _refuse_command_variables(environment)
        program = environment.get("SAGEMAKER_PROGRAM") or image.handler or "inference.py"
        return HandlerProgram(program=program, requirements=lines)
    _refuse_command_variables(environment)
    return Command(
        argv=image.argv,
        ping_path=image.ping_path,
        invoke_path=image.invoke_path,
        requirements=lines,
    )


def _refuse_command_variables(environment: Mapping[str, str]) -> None:
    for name in _COMMAND_VARIABLES:
        if name in environment:
            raise ValueError(f"{name} needs the image '{COMMAND_IMAGE}'")


def _handler(environment: Mapping[str, str]) -> HandlerProgram:
    _refuse_command_variables(environment)
    return HandlerProgram(
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
