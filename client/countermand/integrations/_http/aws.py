"""The operations of AWS that change nothing. What is not in this table is a write.

Most services take every operation by POST, and a name says little: `ReceiveMessage` hides the message from
all others, and `GetQueueUrl` reads. So each is written down, by the service as boto3's events name it.
"""

_READS = {
    "cloudwatch": "DescribeAlarms GetMetricData GetMetricStatistics ListMetrics",
    "cloudwatch-logs": "DescribeLogGroups DescribeLogStreams FilterLogEvents GetLogEvents",
    "dynamodb": (
        "BatchGetItem DescribeTable DescribeTimeToLive GetItem ListTables ListTagsOfResource Query Scan "
        "TransactGetItems"
    ),
    "kms": "DescribeKey GetKeyPolicy GetPublicKey ListAliases ListKeys",
    "lambda": "GetFunction GetFunctionConfiguration GetPolicy ListFunctions ListVersionsByFunction",
    "s3": (
        "GetBucketAcl GetBucketLocation GetBucketPolicy GetBucketTagging GetBucketVersioning GetObject "
        "GetObjectAcl GetObjectAttributes GetObjectTagging HeadBucket HeadObject ListBuckets "
        "ListMultipartUploads ListObjectVersions ListObjects ListObjectsV2 ListParts SelectObjectContent"
    ),
    "secrets-manager": "DescribeSecret GetSecretValue ListSecretVersionIds ListSecrets",
    "sns": (
        "GetSubscriptionAttributes GetTopicAttributes ListSubscriptions ListSubscriptionsByTopic ListTopics"
    ),
    "sqs": "GetQueueAttributes GetQueueUrl ListQueueTags ListQueues",
    "ssm": "DescribeParameters GetParameter GetParameters GetParametersByPath",
    "sts": "GetCallerIdentity",
}

#: As `service.Operation`.
READS = frozenset(f"{service}.{name}" for service, names in _READS.items() for name in names.split())
