"""What people are told: health, notices and their delivery, the report, marks in Grafana."""
