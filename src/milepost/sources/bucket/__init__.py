"""Training runs in object stores: `s3://bucket/runs/my-500m`, listed, recognised and downloaded."""
