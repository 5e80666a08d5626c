"""Metrics and alarms: what was measured is kept, added up, and watched."""
