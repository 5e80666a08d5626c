"""Who calls, and what they may do: API keys, AWS signatures, scopes."""
