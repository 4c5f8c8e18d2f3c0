"""Object stores: addresses such as `s3://bucket/results`, and the requests that are made to a bucket."""

from milepost.buckets.address import BucketPath, as_path, in_bucket
from milepost.buckets.client import Bucket, StoredObject, bucket_of

__all__ = ["Bucket", "BucketPath", "StoredObject", "as_path", "bucket_of", "in_bucket"]
