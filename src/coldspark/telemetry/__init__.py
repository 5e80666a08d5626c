"""Metrics, alarms and logs, in no vendor's words.

Parts: ``metric_service`` and ``metric_queries``, ``value_sketch`` (pure), ``metric_math`` (pure),
``alarm_rules`` (pure) and ``alarm_service``, ``log_store`` and its tables.

Law: watching an endpoint never wakes it, nor keeps it awake.
"""
