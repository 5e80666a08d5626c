"""A model archive as people send one to SageMaker: ``model.tar.gz`` with ``code/inference.py``."""

import io
import tarfile

HANDLER = '''
import json


def model_fn(model_dir):
    """Load the only weight."""
    with open(f"{model_dir}/weight.txt") as file:
        return float(file.read())


def input_fn(data, content_type):
    """Take JSON."""
    assert content_type == "application/json", content_type
    return json.loads(data)


def predict_fn(data, model):
    """Multiply."""
    return [model * value for value in data["values"]]


def output_fn(prediction, accept):
    """Give JSON."""
    return json.dumps({"products": prediction}), "application/json"
'''


def archive(weight: float) -> bytes:
    """Return a model that multiplies by ``weight``."""
    return packed({"weight.txt": str(weight), "code/inference.py": HANDLER})


def packed(files: dict[str, str]) -> bytes:
    """Return a .tar.gz of text files."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return whole.getvalue()
