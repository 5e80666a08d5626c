"""A small server of SageMaker's multi-model container API: room for two models."""

import json
import os
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODELS_MAX = 2
loaded: dict[str, str] = {}


class Api(BaseHTTPRequestHandler):
    """Load, unload, call."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200, {"models": [{"modelName": name} for name in loaded]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/models":
            self.load(json.loads(body))
            return
        name = re.fullmatch("/models/([0-9a-f]+)/invoke", self.path)[1]  # type: ignore[index]
        if name not in loaded:
            self.answer(404, {"message": "no such model"})
            return
        said = {"model": loaded[name], "pid": os.getpid()}
        said["target"] = self.headers["x-amzn-sagemaker-target-model"]
        self.answer(200, said)

    def load(self, asked: dict[str, str]) -> None:
        with open(os.path.join(asked["url"], "name.txt")) as file:
            name = file.read()
        if name == "broken":
            self.answer(500, {"message": "these are no weights"})
        elif asked["model_name"] in loaded:
            self.answer(409, {"message": "it is loaded"})
        elif len(loaded) >= MODELS_MAX:
            self.answer(507, {"message": "no memory"})
        else:
            loaded[asked["model_name"]] = name
            self.answer(200, {})

    def do_DELETE(self) -> None:
        gone = loaded.pop(self.path.removeprefix("/models/"), None)
        self.answer(404 if gone is None else 200, {})

    def answer(self, status: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    assert os.environ["SAGEMAKER_MULTI_MODEL"] == "true"
    port = int(os.environ["SAGEMAKER_BIND_TO_PORT"])
    ThreadingHTTPServer(("127.0.0.1", port), Api).serve_forever()
