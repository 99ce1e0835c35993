"""gunicorn's threaded worker, but it stops as soon as its work is done."""

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

_TICK_SECONDS = 0.5


class PromptThreadWorker(ThreadWorker):  # type: ignore[misc]
    """A threaded worker that waits in short steps.

    At shutdown, gunicorn's worker waits for an event for the whole graceful timeout before it closes idle keep-alive
    connections. So one idle client delays every stop by 30 s.
    """

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for events, for at most half a second."""
        super().wait_for_and_dispatch_events(min(timeout, _TICK_SECONDS))
