"""Write the tables of what AWS's operations take, from the service models of installed botocore.

``make aws-shapes`` writes a JSON file beside each service's overlay: the input shapes that its
operations reach, one a line. A member that is new in a later model is refused until the overlay
decides on it.
"""

from typing import Any

import botocore
import botocore.loaders
import msgspec

from coldspark.doors.aws.autoscaling.shapes import OVERLAY as AUTOSCALING
from coldspark.doors.aws.cloudwatch.shapes import OVERLAY as CLOUDWATCH
from coldspark.doors.aws.identity.iam import OVERLAY as IAM
from coldspark.doors.aws.logs.shapes import OVERLAY as LOGS
from coldspark.doors.aws.protocol.model import ModelShape, ModelTable, Overlay
from coldspark.doors.aws.sagemaker.shapes import OVERLAY as SAGEMAKER

OVERLAYS = (AUTOSCALING, CLOUDWATCH, IAM, LOGS, SAGEMAKER)


def table(overlay: Overlay) -> ModelTable:
    """Return what a service's operations reach, read from botocore."""
    model = botocore.loaders.Loader().load_service_model(overlay.service, "service-2")
    inputs = {
        operation: model["operations"][operation]["input"]["shape"]
        for operation in sorted(overlay.operations)
    }
    shapes: dict[str, ModelShape] = {}
    waiting = list(inputs.values())
    while waiting:
        name = waiting.pop()
        if name not in shapes:
            shapes[name] = _shape(model["shapes"][name])
            one = shapes[name]
            waiting += [*one.members.values(), *filter(None, (one.member, one.key, one.value))]
    return ModelTable(botocore.__version__, inputs, dict(sorted(shapes.items())))


def _shape(model: dict[str, Any]) -> ModelShape:
    """Return a shape without its words for people; what is in a member becomes its name."""
    kept = {name: model[name] for name in ModelShape.__struct_fields__ if name in model}
    kept |= {part: model[part]["shape"] for part in ("member", "key", "value") if part in model}
    kept["members"] = {name: one["shape"] for name, one in model.get("members", {}).items()}
    return msgspec.convert(kept, ModelShape)


def render(table: ModelTable) -> str:
    """Return a table as its file has it: one line for each shape, so that changes can be read."""
    lines = [f'"{name}": {_json(shape)}' for name, shape in table.shapes.items()]
    inputs = _json(table.inputs).replace('","', '",\n"')
    shapes = ",\n".join(lines)
    return f'{{"botocore": "{table.botocore}",\n"inputs": {inputs},\n"shapes": {{\n{shapes}\n}}}}\n'


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


if __name__ == "__main__":
    for overlay in OVERLAYS:
        overlay.table.write_text(render(table(overlay)), encoding="utf-8")
