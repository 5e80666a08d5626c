"""Many models behind one variant: where they are, and what names one of them. Pure."""

from dataclasses import dataclass

TARGET_CHARS_MAX = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiModel:
    """Many models behind one variant: each request names its own, by a path under the prefix."""

    prefix: str
    """Where the models are: ``file:///…/`` or ``s3://…/``."""
    is_cached: bool = True
    """Whether a model stays loaded after its request, for as long as memory lasts."""

    def check(self, model: str | None, batch_size_max: int) -> None:
        """Raise ValueError where a spec has settings that exclude many models."""
        if model is not None:
            raise ValueError("a spec has either a model or many models: leave one of them out")
        if batch_size_max > 1:
            raise ValueError(
                f"batch_size={batch_size_max} does not go with many models: a batch is one call of"
                " one model"
            )

    @property
    def code_url(self) -> str:
        """Return where the one program of all models is."""
        return f"{self.prefix}code/"

    def __post_init__(self) -> None:
        if not self.prefix.endswith("/") or not self.prefix.startswith(("file:///", "s3://")):
            raise ValueError(
                f"prefix={self.prefix!r} must be file:///…/ or s3://…/, with a slash at its end"
            )


def target_problem(target: str) -> str | None:
    """Return why a target is no path below its prefix, or None."""
    if not target or len(target) > TARGET_CHARS_MAX:
        return f"it must have 1 to {TARGET_CHARS_MAX} characters"
    if not target.isprintable() or "\\" in target:
        return "it may have neither control characters nor backslashes"
    if any(part in ("", ".", "..") for part in target.split("/")):
        return "it must be a path below ModelDataUrl, without '.', '..' or empty parts"
    return None
