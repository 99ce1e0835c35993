"""Reporting to people: health, notices and their delivery, the report, marks in Grafana."""
