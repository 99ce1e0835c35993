"""The logs: results, predictions, events, the outbox of alerts, maintenance mode."""
