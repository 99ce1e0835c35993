"""The figures over time that the dashboard of the pages and those of Grafana show, and what is wrong now."""
