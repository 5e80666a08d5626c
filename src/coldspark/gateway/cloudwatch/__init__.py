"""CloudWatch: measurements in and out, alarms, dashboards; JSON 1.0 and the query protocol."""
