"""The page "Model health". `.airflowignore` keeps Airflow from taking these files for plugins."""
