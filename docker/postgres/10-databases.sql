-- One database and one owner per application. The image runs this once, on an empty volume. Running it again changes
-- only the passwords (docs/deployment.md, "Change a password").
\getenv mycoflow_password DATABASE_OWNER_PASSWORD
\getenv mlflow_password MLFLOW_DATABASE_PASSWORD
\getenv airflow_password AIRFLOW_DATABASE_PASSWORD
\getenv grafana_password GRAFANA_DATABASE_PASSWORD

SELECT format('CREATE ROLE %I', name)
FROM unnest(ARRAY['mycoflow', 'mlflow', 'airflow', 'grafana']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

-- The migrations of mycoflow create the roles web, training and grafana_ro.
ALTER ROLE mycoflow LOGIN CREATEROLE PASSWORD :'mycoflow_password';
ALTER ROLE mlflow LOGIN PASSWORD :'mlflow_password';
ALTER ROLE airflow LOGIN PASSWORD :'airflow_password';
ALTER ROLE grafana LOGIN PASSWORD :'grafana_password';

SELECT format('CREATE DATABASE %I OWNER %I', name, owner)
FROM (VALUES ('mycoflow', 'mycoflow'), ('mlflow', 'mlflow'), ('mlflow_auth', 'mlflow'),
             ('airflow', 'airflow'), ('grafana', 'grafana')) AS wanted (name, owner)
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec

-- The roles from the migrations may connect to mycoflow; only the owner may connect to each other database.
REVOKE ALL ON DATABASE mlflow, mlflow_auth, airflow, grafana FROM PUBLIC;

-- Only a superuser may add pgvector. A server without it works, and finds no similar photos.
\connect mycoflow
SELECT 'CREATE EXTENSION IF NOT EXISTS vector'
FROM pg_available_extensions WHERE name = 'vector' \gexec
