"""InvokeEndpointAsync: a job by S3 addresses, and the events that tell its end."""
