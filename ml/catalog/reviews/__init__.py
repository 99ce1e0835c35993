"""The review queues, and what reviewers decided."""
