"""One port: bytes to requests, requests to replies.

Parts: ``server``, ``connection`` (parser, pipeline and time limits of one client) with
``header_cache``, ``door`` (what a door is) and ``door_match``, ``invocation_handler`` (one request
on the hot path) with ``streamed_body`` and ``body_spool``, ``replies`` and ``framing``,
``retries``, ``auth``.

Law: no door is known here; bodies are bytes and are never parsed.
"""
