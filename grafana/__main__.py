"""`python -m grafana`: write the dashboards' JSON anew."""

from grafana.writing import write_dashboards

write_dashboards()
