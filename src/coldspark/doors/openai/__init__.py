"""OpenAI's door: ``/v1/chat/completions`` and its neighbours."""
