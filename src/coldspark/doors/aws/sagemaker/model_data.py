"""Where model data is: AWS's two ways to say it, as the one URL that a spec has.

A URL that ends in a slash is a prefix of uncompressed files; any other is one ``.tar.gz``.
"""

import asyncio
import re
from dataclasses import replace
from typing import Protocol

from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.sagemaker.records import Container, S3DataSource
from coldspark.errors import ArtifactUnavailable
from coldspark.platform.spec_json import spec_json
from coldspark.spec.multi_model import MultiModel
from coldspark.spec.types import Revision, VariantDefinition, revision_id

_S3_HOSTS = (
    re.compile(r"https://s3[.-][a-z0-9.-]*amazonaws\.com(?:\.cn)?/([^/]+)/(.*)"),
    re.compile(r"https://([^/]+)\.s3[.-][a-z0-9.-]*amazonaws\.com(?:\.cn)?/(.*)"),
)


def model_url(container: Container) -> str | None:
    """Return ``file://``, ``s3://`` or ``artifact:``, or None without data."""
    source = container.model_data_source
    if source is None or source.s3_data_source is None:
        return None if container.model_data_url is None else _plain(container.model_data_url)
    if container.model_data_url is not None:
        invalid("Specify either ModelDataUrl or ModelDataSource, not both.", field="ModelDataUrl")
    return _of_source(source.s3_data_source)


def multi_model(container: Container) -> MultiModel | None:
    """Return the prefix of many models, or None where there is one model."""
    config = container.multi_model_config
    if not container.has_many:
        if config is not None:
            invalid("MultiModelConfig goes with Mode 'MultiModel'.", field="MultiModelConfig")
        return None
    url = model_url(container)
    if url is None or not url.endswith("/") or not url.startswith(("file:///", "s3://")):
        invalid(
            f"ModelDataUrl '{url}' must be a prefix with Mode 'MultiModel': an address of S3, or a"
            " directory of this machine, with a slash at its end.",
            field="ModelDataUrl",
        )
    is_cached = config is None or config.model_cache_setting == "Enabled"
    return MultiModel(prefix=url, is_cached=is_cached)


def _of_source(source: S3DataSource) -> str:
    url = _plain(source.s3_uri)
    match source.s3_data_type, source.compression_type:
        case "S3Prefix", "None":
            return url if url.endswith("/") else f"{url}/"
        case "S3Object", "Gzip" if not url.endswith("/"):
            return url
        case _:
            return invalid(
                f"ModelDataSource with S3DataType '{source.s3_data_type}', CompressionType "
                f"'{source.compression_type}' and S3Uri '{source.s3_uri}' is not supported: use "
                "S3Prefix with None for a prefix of files, or S3Object with Gzip for one .tar.gz.",
                field="ModelDataSource",
            )


def _plain(url: str) -> str:
    """Turn a path into ``file://`` and S3's HTTPS addresses into ``s3://``."""
    if url.startswith("/"):
        return f"file://{url}"
    if not url.startswith("https://"):
        return url
    for pattern in _S3_HOSTS:
        match = pattern.fullmatch(url)
        if match is not None:
            return f"s3://{match.group(1)}/{match.group(2)}"
    return invalid(f"ModelDataUrl '{url}' is not an address of S3: use s3://bucket/key.")


_LOOK_S = 5.0
"""For all data of one variant: a request waits for it."""


class ModelData(Protocol):
    """Where models lie."""

    async def stamp(self, url: str) -> str:
        """Return what changes when the data at a URL does. Raises ArtifactUnavailable."""


async def with_data_stamp(data: ModelData | None, variant: VariantDefinition) -> VariantDefinition:
    """Return the variant under an id that its model data has a part in.

    What cannot be looked at leaves the id as it is: whoever starts it says what is wrong.
    """
    spec = variant.revision.spec
    urls = sorted(url for url in spec.sources if not url.startswith("artifact:"))
    if data is None or not urls:
        return variant
    try:
        async with asyncio.timeout(_LOOK_S):
            stamps = [await data.stamp(url) for url in urls]
    except (ArtifactUnavailable, TimeoutError):
        return variant
    id = revision_id("\0".join([spec_json(spec).decode(), *stamps]).encode())
    return replace(variant, revision=Revision(id=id, spec=spec))
