"""What happened: results, predictions, events, the outbox of alerts, maintenance mode."""
