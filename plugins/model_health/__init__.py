"""The page "Model health". Because of `.airflowignore`, Airflow does not load these files as plugins."""
