"""Grafana through its HTTP API: dashboards, and marks where something happened."""
