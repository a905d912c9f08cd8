"""Words of the wire that both sides share: headers, operations, error codes. Words, no codec."""

from __future__ import annotations

# Request and reply headers, in the spelling that the strictest published reader compares literally.
AUTHORIZATION = "Authorization"
DATE = "Date"
RETRY_AFTER = "Retry-After"
ETAG = "ETag"
RANGE = "Range"
CONTENT_RANGE = "Content-Range"
CREATION_DATE = "creation-date"
VERSION_ID = "version-id"
BLOB_CHECKSUM_TYPE = "ds3-blob-checksum-type"
BLOB_CHECKSUM_OFFSET = "ds3-blob-checksum-offset-"
PAGE_TRUNCATED = "page-truncated"
TOTAL_RESULT_COUNT = "total-result-count"
METADATA = "x-amz-meta-"
REQUEST_ID = "x-amz-request-id"
MANAGEMENT_PATH = "Spectra-Data-Path-Request-Made-On-Management-Path"

# Values of `operation=`, in the spelling that the published clients send.
START_BULK_PUT = "start_bulk_put"
START_BULK_GET = "start_bulk_get"
START_BULK_VERIFY = "start_bulk_verify"
GET_PHYSICAL_PLACEMENT = "get_physical_placement"
VERIFY_PHYSICAL_PLACEMENT = "verify_physical_placement"
ALLOCATE = "allocate"
EJECT = "eject"
CANCEL_EJECT = "cancel_eject"
ONLINE = "online"
CANCEL_ONLINE = "cancel_online"

# Codes of the error document.
NO_SUCH_BUCKET = "NoSuchBucket"
NO_SUCH_KEY = "NoSuchKey"
NOT_FOUND = "NotFound"
ACCESS_DENIED = "AccessDenied"
SIGNATURE_DOES_NOT_MATCH = "SignatureDoesNotMatch"
INVALID_ACCESS_KEY_ID = "InvalidAccessKeyId"
REQUEST_TIME_TOO_SKEWED = "RequestTimeTooSkewed"
INVALID_ARGUMENT = "InvalidArgument"
MALFORMED_XML = "MalformedXML"
INVALID_BUCKET_NAME = "InvalidBucketName"
BAD_DIGEST = "BadDigest"
BAD_REQUEST = "BadRequest"
BUCKET_ALREADY_EXISTS = "BucketAlreadyExists"
BUCKET_NOT_EMPTY = "BucketNotEmpty"
OBJECT_ALREADY_EXISTS = "OBJECT_ALREADY_EXISTS"
OBJECT_NOT_FOUND = "ObjectNotFound"
CONFLICT = "Conflict"
GONE = "Gone"
MISSING_CONTENT_LENGTH = "MissingContentLength"
METHOD_NOT_ALLOWED = "MethodNotAllowed"
INVALID_RANGE = "InvalidRange"
INTERNAL_ERROR = "InternalError"
SERVICE_UNAVAILABLE = "ServiceUnavailable"
SLOW_DOWN = "SlowDown"

# A 503 whose message holds this is about a get in order that needs more room than the cache has.
NOT_PRE_ALLOCATED = "must be entirely pre-allocated"

# A 403 whose message holds these words is about the clock, whatever its code.
CLIENT_CLOCK = "Client clock"

# A job holds at most this many objects. Source: vendor's bulk overview.
MAX_OBJECTS_PER_JOB = 500_000
# A multi-object delete, a listing page: at most this many keys. Source: protocol, 7.3 and 7.9.
MAX_KEYS_PER_REQUEST = 1000
# The smallest `max_upload_size` an appliance accepts. Source: protocol, 8.9.
MIN_BLOB_SIZE = 10 * 1024 * 1024
