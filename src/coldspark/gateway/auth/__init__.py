"""Who is calling: API keys as bearer tokens or AWS signatures, and what each key may do."""
