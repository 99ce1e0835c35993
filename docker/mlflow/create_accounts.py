"""Create one MLflow account for each of the two services that use MLflow. Neither is an administrator.

`training` creates experiments, runs and models, and owns them. `web` may read everything (the default permission) and
change the model that MYCOFLOW_MODEL_NAME names, because POST /model/update moves its alias.
Run this once per deployment. Running it again sets the passwords to those in the environment.
"""

import os
import sys

import requests

ACCOUNTS = {"training": "MLFLOW_TRAINING_PASSWORD", "web": "MLFLOW_WEB_PASSWORD"}
MODEL_NAME = os.environ.get("MYCOFLOW_MODEL_NAME") or "mycoflow"
TIMEOUT_SECONDS = 30


def ensure_account(session: requests.Session, url: str, username: str, password: str) -> None:
    """Create the account, or set its password if it exists.

    Raises: requests.HTTPError, MLflow refuses; the message has its reason.
    """
    body = {"username": username, "password": password}
    users = f"{url}/api/2.0/mlflow/users"
    answer = session.post(f"{users}/create", json=body, timeout=TIMEOUT_SECONDS)
    if answer.status_code == requests.codes.bad_request and "RESOURCE_ALREADY_EXISTS" in answer.text:
        answer = session.patch(f"{users}/update-password", json=body, timeout=TIMEOUT_SECONDS)
    if not answer.ok:
        raise requests.HTTPError(f"MLflow refused the account {username!r}: {answer.status_code} {answer.text}")


def allow_model_changes(session: requests.Session, url: str, username: str) -> None:
    """Let an account change the model's aliases and tags, but not delete the model. The model need not exist yet.

    Raises: requests.HTTPError, MLflow refuses; the message has its reason.
    """
    body = {
        "username": username,
        "resource_type": "registered_model",
        "resource_id": MODEL_NAME,
        "permission": "EDIT",
    }
    answer = session.post(f"{url}/api/3.0/mlflow/users/permissions/grant", json=body, timeout=TIMEOUT_SECONDS)
    if not answer.ok:
        raise requests.HTTPError(
            f"MLflow refused {username!r} the permission on {MODEL_NAME!r}: {answer.status_code} {answer.text}"
        )


def main() -> None:
    """Create every account of ACCOUNTS as the administrator that the environment names."""
    url = os.environ["MLFLOW_TRACKING_URI"]
    with requests.Session() as session:
        session.auth = (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"])
        for username, variable in ACCOUNTS.items():
            ensure_account(session, url, username, os.environ[variable])
            sys.stdout.write(f"MLflow account {username!r} is ready\n")
        allow_model_changes(session, url, "web")


if __name__ == "__main__":
    main()
