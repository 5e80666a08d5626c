"""DataCaptureConfig: as a rule for the platform, and as DescribeEndpoint shows it. Pure."""

from coldspark.core.capturing import CaptureRule
from coldspark.gateway.sagemaker.calls import Body
from coldspark.gateway.sagemaker.records import DataCapture


def capture_rule(asked: DataCapture | None) -> CaptureRule | None:
    """Return what is captured; None when it is switched off."""
    if asked is None or not asked.enable_capture:
        return None
    modes = {option.capture_mode for option in asked.capture_options}
    types = asked.capture_content_type_header
    return CaptureRule(
        percent=asked.initial_sampling_percentage,
        destination=asked.destination_s3_uri,
        has_input=bool(modes & {"Input", "InputAndOutput"}),
        has_output=bool(modes & {"Output", "InputAndOutput"}),
        csv_types=tuple(media.lower() for media in types.csv_content_types),
        json_types=tuple(media.lower() for media in types.json_content_types),
    )


def capture_summary(asked: DataCapture, rule: CaptureRule | None) -> Body:
    """Return a DataCaptureConfigSummary."""
    return {
        "EnableCapture": asked.enable_capture,
        "CaptureStatus": "Stopped" if rule is None else "Started",
        "CurrentSamplingPercentage": asked.initial_sampling_percentage,
        "DestinationS3Uri": asked.destination_s3_uri,
        # Required by AWS's model; nothing is encrypted with a key of the caller's.
        "KmsKeyId": "",
    }
