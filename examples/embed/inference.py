"""Turn texts into vectors with WordLlama: static embeddings, 16 MB, on CPU.

Takes ``{"texts": ["…"]}``, or OpenAI's ``{"input": "…"}`` or ``{"input": ["…"]}``; answers in kind.
"""

from pathlib import Path
from typing import Any

# Imported here, not in model_fn: the template pays once, and every replica is forked from it.
import wordllama
from wordllama import WordLlama

MODEL = "wordllama-l2-supercat-256"


class BadRequest(ValueError):
    """A request that cannot be embedded: the caller's mistake, so its status says 400."""

    status_code = 400


def model_fn(model_dir: str) -> WordLlama:
    """Load the weights that lie inside the package."""
    return WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)


def predict_fn(data: Any, model: WordLlama) -> dict[str, Any]:
    """Embed every text, normalised to length 1."""
    texts = wanted_texts(data)
    vectors = model.embed(texts, norm=True).tolist() if texts else []
    return {"embeddings": vectors} if "texts" in data else openai_answer(texts, vectors)


def wanted_texts(data: Any) -> list[str]:
    """Return the texts of a request."""
    texts = data.get("texts", data.get("input")) if isinstance(data, dict) else None
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadRequest('send {"texts": ["…"]} or {"input": "…"}')
    return texts


def openai_answer(texts: list[str], vectors: list[list[float]]) -> dict[str, Any]:
    """Put vectors into the words of OpenAI's embeddings API. Tokens are estimated by words."""
    tokens = sum(len(text.split()) for text in texts)
    return {
        "object": "list",
        "model": MODEL,
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
