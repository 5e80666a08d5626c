"""Bytes on disk and in object storage: artifacts, weights, buckets.

Parts: ``artifacts`` (code and models that a spec names, on local disk), ``blobs``
(content-addressed), ``downloads``, ``eviction``, ``local_buckets`` (what the S3 door serves),
``object_store``.

Law: what is named by its hash is verified before it is used.
"""
