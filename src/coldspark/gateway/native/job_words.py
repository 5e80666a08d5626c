"""How a job of the native API ended, for whoever asked to be told: nobody can ask yet."""

from coldspark.runtime.jobs.ports import Ended, Words


class NativeJobs:
    """Implements ``JobDoor``: an order of this door names neither a URL nor a webhook."""

    def failure_words(self, ended: Ended) -> tuple[str, bytes]:
        """Say why there is no answer."""
        return "text/plain; charset=utf-8", (ended.result.message or "").encode()

    def notice_words(self, ended: Ended, notice_id: str) -> Words | None:
        """Tell nobody."""
        return None
