#!/bin/sh
# Starts SeaweedFS with three S3 identities: an administrator, and one for each bucket without access to others.
# Master, volume server and filer have no login, so they listen only inside this container. The gRPC port of S3 has the
# address of S3: it refuses every call that is not signed with a key that no one else has.
set -eu
umask 077
WEED_JWT_FILER_SIGNING_KEY=$(cat /proc/sys/kernel/random/uuid)
export WEED_JWT_FILER_SIGNING_KEY
cat >/tmp/s3.json <<EOF
{
  "identities": [
    {
      "name": "admin",
      "credentials": [{"accessKey": "admin", "secretKey": "${S3_ADMIN_SECRET_KEY}"}],
      "actions": ["Admin", "Read", "Write", "List", "Tagging"]
    },
    {
      "name": "images",
      "credentials": [{"accessKey": "images", "secretKey": "${S3_IMAGES_SECRET_KEY}"}],
      "actions": ["Read:images", "Write:images", "List:images", "Tagging:images"]
    },
    {
      "name": "models",
      "credentials": [{"accessKey": "models", "secretKey": "${S3_MODELS_SECRET_KEY}"}],
      "actions": ["Read:models", "Write:models", "List:models", "Tagging:models"]
    }
  ]
}
EOF
exec weed -logtostderr=true server -dir=/data -ip=127.0.0.1 -ip.bind=127.0.0.1 \
	-master.volumeSizeLimitMB=1024 -master.telemetry=false -volume.max=0 \
	-s3 -s3.port=8333 -s3.ip.bind=0.0.0.0 -s3.config=/tmp/s3.json \
	-s3.iam=false -s3.port.iceberg=0 -s3.port.lance=0
