"""Create the buckets named on the command line, as the S3 administrator. Existing buckets do not change."""

import os
import sys
from typing import Any

import boto3


def ensure_bucket(client: Any, name: str) -> None:  # boto3 makes its client types at run time
    """Create one bucket unless this account already has it.

    Raises: botocore.exceptions.ClientError, the store refuses the request.
    """
    existing = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    if name not in existing:
        client.create_bucket(Bucket=name)
    sys.stdout.write(f"Bucket {name!r} is ready\n")


def main() -> None:
    """Create all buckets. Endpoint and credentials come from boto3's environment variables."""
    client = boto3.client("s3", region_name=os.environ["AWS_REGION"])
    for name in sys.argv[1:]:
        ensure_bucket(client, name)


if __name__ == "__main__":
    main()
