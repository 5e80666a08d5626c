"""The S3 door: buckets that this server keeps itself, path style, rest-xml."""
