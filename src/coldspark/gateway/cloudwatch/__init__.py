"""CloudWatch: measurements in and out, alarms; JSON 1.0 and the query protocol."""
