"""`python -m grafana`: write the dashboards' JSON files, and the table of figures in docs/operations.md."""

from grafana.figures_guide import write_guide
from grafana.writing import write_dashboards

write_dashboards()
write_guide()
