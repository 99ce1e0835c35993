"""gunicorn's threaded worker, ending as soon as its work is done."""

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

_TICK_SECONDS = 0.5


class PromptThreadWorker(ThreadWorker):  # type: ignore[misc]
    """Waits in short steps.

    When it shuts down, gunicorn's own waits for an event for the whole graceful timeout before it looks which idle
    keep-alive connections have expired, so one idle client delays every stop by 30 s.
    """

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for events, for a moment at most."""
        super().wait_for_and_dispatch_events(min(timeout, _TICK_SECONDS))
