"""Vendors' words live under their doors: below them the field's own words are enough."""

import re

from house_sources import modules

ROOMS = (
    "spec",
    "fleet",
    "platform",
    "node",
    "billing",
    "jobs",
    "telemetry",
    "autoscaling",
    "objects",
    "database",
    "http",
)
WORDS = re.compile(
    r"(?<![a-z])aws|(?<![a-z])amzn|sagemaker|cloudwatch|\barn:|amazon|runpod|openai"
    r"|(?-i:\bLambda\b)",
    re.IGNORECASE,
)
ALLOWED = {
    "spec/scaling_rules.py": "rules that people bring along are named after where they come from",
    "spec/types.py": "handlers are written against SageMaker's contract",
    "fleet/policies/": "each rule names its source",
    "fleet/step_scaling.py": "the rule names its source",
    "platform/catalogue.py": "instance types are names of AWS's that specs may use",
    "node/launch_resolver.py": "handlers and containers find SageMaker's variables",
    "node/models/model_server.py": "it speaks the container API that model servers have",
    "node/replica.py": "containers find SageMaker's variables",
    "node/root_cause.py": "its cures name the variables that containers find",
    "node/sandbox/scratch.py": "SageMaker's toolkit has its model there",
    "node/worker/": "handlers are written against SageMaker's contract",
    "objects/": "object storage is found as its clients find it, by AWS's variables",
    "http/auth/": "a signature of version 4 is a protocol, and its errors are part of it",
}
"""Why a module, or a folder, may have them all the same."""


def test_below_the_doors_nobody_speaks_a_vendors_language() -> None:
    """Sentences, identifiers and JSON of a vendor's are made where his clients are answered."""
    found, used = [], set()
    for module in modules():
        path = module.path.removeprefix("src/coldspark/")
        lines = [n for n, line in enumerate(module.text.splitlines(), 1) if WORDS.search(line)]
        if not lines or path.partition("/")[0] not in ROOMS:
            continue
        reasons = [one for one in ALLOWED if path.startswith(one)]
        used.update(reasons)
        if not reasons:
            found += [f"{module.path}:{number}" for number in lines]
    assert found == []
    assert set(ALLOWED) - used == set(), "what nobody needs any more is no exception"
