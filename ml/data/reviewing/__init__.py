"""Review: read the queues, decide, and undo a decision."""
