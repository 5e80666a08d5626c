"""Scalable targets: variants whose capacity follows policies, schedules and bounds."""
