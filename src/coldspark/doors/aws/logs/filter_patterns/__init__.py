"""Filter patterns of log events."""
