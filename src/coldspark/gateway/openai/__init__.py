"""The OpenAI door: ``model`` in the body is the endpoint's name."""
