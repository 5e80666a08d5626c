"""S3: buckets and objects of this server."""
