/* Buckets, listings and objects: the part of S3 that DS3 has too, and what clients of S3 need besides for a put or get.
 *
 * What is put is not kept. Its size is remembered for a while, since some clients ask for it when they have put it.
 */
#define _GNU_SOURCE
#include "server.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define OLD "2024-01-01T00:00:00.000Z"
#define NAMESPACE " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""
/* With a dash no client takes it for the MD5 of the bytes. */
#define ETAG "00000000000000000000000000000000-1"

enum { PAGE = 1000, KEY_ROOM = 1100, REMEMBERED = 1 << 16 };

/* -- what was put lately --------------------------------------------------------------------------------------------- */

/* By a hash of the key; a newer one may take an older one's place. */
static struct {
    _Atomic uint64_t hash, size;
} remembered[REMEMBERED];

static uint64_t hash_of(struct slice key)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325); /* FNV-1a */
    for (size_t i = 0; i < key.length; i++)
        hash = (hash ^ (unsigned char)key.at[i]) * UINT64_C(0x100000001B3);
    return hash;
}

static void remember(struct slice key, uint64_t size)
{
    uint64_t hash = hash_of(key);
    atomic_store_explicit(&remembered[hash % REMEMBERED].size, size, memory_order_relaxed);
    atomic_store_explicit(&remembered[hash % REMEMBERED].hash, hash, memory_order_release);
}

static void remember_more(struct slice key, uint64_t size)
{
    atomic_fetch_add(&remembered[hash_of(key) % REMEMBERED].size, size);
}

static bool recall(struct slice key, uint64_t *size)
{
    uint64_t hash = hash_of(key);
    *size = atomic_load(&remembered[hash % REMEMBERED].size);
    return atomic_load(&remembered[hash % REMEMBERED].hash) == hash;
}

/* -- buckets --------------------------------------------------------------------------------------------------------- */

void answer_service(struct connection *connection)
{
    start_reply(connection, 200);
    ADD(&connection->body, "<ListAllMyBucketsResult><Buckets><Bucket><CreationDate>" OLD "</CreationDate>"
                           "<Name>bench</Name></Bucket></Buckets><Owner><DisplayName>bench</DisplayName>"
                           "<ID>05e40000-0000-4000-8000-000000000000</ID></Owner></ListAllMyBucketsResult>");
    end_body(connection);
}

/* A parameter under its name in S3 or in DS3, unescaped. */
static struct slice given(struct slice query, const char *name, const char *other, char *into)
{
    struct slice value;
    if (!parameter(query, name, &value) && (other == NULL || !parameter(query, other, &value)))
        return (struct slice){into, 0};
    return unescaped(value, into, KEY_ROOM);
}

static void add_entry(struct buffer *body, uint64_t number, bool versions)
{
    char name[NAME_ROOM];
    if (versions)
        ADD(body, "<Version>");
    else
        ADD(body, "<Contents>");
    ADD(body, "<ETag>\"" ETAG "\"</ETag><IsLatest>true</IsLatest><Key>");
    add(body, name_of(number, name));
    ADD(body, "</Key><LastModified>" OLD "</LastModified><Owner><DisplayName>bench</DisplayName>"
              "<ID>05e40000-0000-4000-8000-000000000000</ID></Owner><Size>");
    add_number(body, objects.size);
    ADD(body, "</Size><StorageClass>STANDARD</StorageClass><VersionId>00000000-0000-4001-8000-");
    add_hex(body, number, 12);
    ADD(body, "</VersionId>");
    if (versions)
        ADD(body, "</Version>");
    else
        ADD(body, "</Contents>");
}

/* One page: every object below a common prefix, or the prefix itself where the delimiter says so. */
static void list_objects(struct connection *connection)
{
    struct slice query = connection->request.query, ignored;
    struct buffer *body = &connection->body;
    char prefix_room[KEY_ROOM], marker_room[KEY_ROOM], delimiter_room[KEY_ROOM], count_room[KEY_ROOM], name[NAME_ROOM];
    bool second = parameter(query, "list-type", &ignored), versions = parameter(query, "versions", &ignored);
    struct slice prefix = given(query, "prefix", NULL, prefix_room);
    struct slice delimiter = given(query, "delimiter", NULL, delimiter_room);
    struct slice marker = second ? given(query, "continuation-token", "start-after", marker_room)
                                 : given(query, "marker", NULL, marker_room);
    uint64_t most, start, end;
    if (!as_number(given(query, "max-keys", "max_keys", count_room), &most) || most > PAGE)
        most = PAGE;
    range_of(prefix, marker, &start, &end);
    /* All names are alike up to their digits: below a delimiter there is one common prefix, or none. */
    const char *cut = delimiter.length == 0 || prefix.length >= objects.prefix.length
                          ? NULL
                          : memmem(objects.prefix.at + prefix.length, objects.prefix.length - prefix.length,
                                   delimiter.at, delimiter.length);
    struct slice common = {objects.prefix.at, cut == NULL ? 0 : (size_t)(cut - objects.prefix.at) + delimiter.length};
    bool shows_common = cut != NULL && start < end && !same(marker, common);
    uint64_t stop = cut != NULL ? start : end - start < most ? end : start + most;
    bool truncated = cut == NULL && stop < end;

    start_reply(connection, 200);
    if (second)
        ADD(body, "<ListBucketResult" NAMESPACE ">");
    else
        ADD(body, "<ListBucketResult>");
    if (shows_common) {
        ADD(body, "<CommonPrefixes><Prefix>");
        add(body, common);
        ADD(body, "</Prefix></CommonPrefixes>");
    }
    reserve(body, (stop - start) * 400);
    for (uint64_t number = start; number < stop; number++)
        add_entry(body, number, versions);
    ADD(body, "<CreationDate>" OLD "</CreationDate><Delimiter>");
    add_xml(body, delimiter);
    if (parameter(query, "encoding-type", &ignored))
        ADD(body, "</Delimiter><EncodingType>url</EncodingType><IsTruncated>");
    else
        ADD(body, "</Delimiter><IsTruncated>");
    if (truncated)
        ADD(body, "true");
    else
        ADD(body, "false");
    ADD(body, "</IsTruncated><KeyCount>");
    add_number(body, stop - start + shows_common);
    ADD(body, "</KeyCount><Marker>");
    add_xml(body, marker);
    ADD(body, "</Marker><MaxKeys>");
    add_number(body, most);
    ADD(body, "</MaxKeys><Name>bench</Name>");
    if (truncated) {
        struct slice last = name_of(stop - 1, name);
        if (second)
            ADD(body, "<NextContinuationToken>");
        else
            ADD(body, "<NextMarker>");
        add(body, last);
        if (second)
            ADD(body, "</NextContinuationToken>");
        else
            ADD(body, "</NextMarker>");
    } else if (!second) {
        ADD(body, "<NextMarker/>");
    }
    ADD(body, "<Prefix>");
    add_xml(body, prefix);
    ADD(body, "</Prefix></ListBucketResult>");
    end_body(connection);
}

void answer_bucket(struct connection *connection)
{
    struct slice method = connection->request.method, query = connection->request.query, ignored;
    if (!same(method, LITERAL("GET"))) { /* it is there, and stays */
        start_reply(connection, same(method, LITERAL("DELETE")) ? 204 : 200);
        end_empty(connection);
    } else if (parameter(query, "location", &ignored)) {
        start_reply(connection, 200);
        ADD(&connection->body, "<LocationConstraint" NAMESPACE "/>");
        end_body(connection);
    } else if (parameter(query, "uploads", &ignored)) {
        start_reply(connection, 200);
        ADD(&connection->body, "<ListMultipartUploadsResult" NAMESPACE "><IsTruncated>false</IsTruncated>"
                               "</ListMultipartUploadsResult>");
        end_body(connection);
    } else {
        list_objects(connection);
    }
}

/* -- objects --------------------------------------------------------------------------------------------------------- */

static void add_etag(struct buffer *head)
{
    ADD(head, "ETag: \"" ETAG "\"\r\n");
}

static void missing(struct connection *connection)
{
    refuse(connection, 404, LITERAL("NoSuchKey"), LITERAL("there is no such object"));
}

/* Take "bytes=a-b", "bytes=a-" or "bytes=-n" of `size` bytes; false for anything else, and for nothing of it. */
static bool read_range(struct slice text, uint64_t size, uint64_t *start, uint64_t *length)
{
    uint64_t last;
    if (!begins(text, LITERAL("bytes=")))
        return false;
    text = after(text, 6);
    const char *dash = memchr(text.at, '-', text.length);
    if (dash == NULL)
        return false;
    struct slice left = {text.at, (size_t)(dash - text.at)}, right = after(text, left.length + 1);
    if (left.length == 0) {
        if (!as_number(right, length) || *length == 0 || size == 0)
            return false;
        *length = *length < size ? *length : size;
        *start = size - *length;
        return true;
    }
    if (!as_number(left, start) || *start >= size)
        return false;
    if (right.length == 0)
        last = size - 1;
    else if (!as_number(right, &last) || last < *start)
        return false;
    *length = (last < size ? last + 1 : size) - *start;
    return true;
}

static void give_object(struct connection *connection, struct slice key)
{
    struct request *request = &connection->request;
    struct buffer *head = &connection->head;
    struct slice job;
    uint64_t number, start = 0, length = objects.size;
    bool asks_head = same(request->method, LITERAL("HEAD"));
    if (!find_object(key, &number)) {
        if (!asks_head || !recall(key, &length)) {
            missing(connection);
            return;
        }
    } else if (request->range.length > 0 && !read_range(request->range, objects.size, &start, &length)) {
        refuse(connection, 416, LITERAL("InvalidRange"), LITERAL("one range inside the object is given, no other"));
        return;
    }
    if (parameter(request->query, "job", &job) && !count_blob(job, length)) {
        refuse(connection, 404, LITERAL("NotFound"), LITERAL("there is no such job"));
        return;
    }
    start_reply(connection, request->range.length > 0 ? 206 : 200);
    ADD(head, "Accept-Ranges: bytes\r\nContent-Type: application/octet-stream\r\n"
              "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n");
    add_etag(head);
    if (request->range.length > 0) {
        ADD(head, "Content-Range: bytes ");
        add_number(head, start);
        ADD(head, "-");
        add_number(head, start + length - 1);
        ADD(head, "/");
        add_number(head, objects.size);
        ADD(head, "\r\n");
    }
    if (asks_head) {
        if (objects.checksum_name != NULL && find_object(key, &number)) {
            ADD(head, "ds3-blob-checksum-type: ");
            add(head, (struct slice){objects.checksum_type, strlen(objects.checksum_type)});
            ADD(head, "\r\nds3-blob-checksum-offset-0: ");
            add(head, (struct slice){objects.checksum, strlen(objects.checksum)});
            ADD(head, "\r\n");
        }
        ADD(head, "creation-date: " OLD "\r\n");
    } else if (objects.checksum_name != NULL) {
        add(head, (struct slice){objects.checksum_name, strlen(objects.checksum_name)});
        ADD(head, ": ");
        add(head, (struct slice){objects.checksum, strlen(objects.checksum)});
        ADD(head, "\r\n");
    }
    end_pattern(connection, start, length);
}

static void take_object(struct connection *connection, struct slice key)
{
    struct request *request = &connection->request;
    struct slice value;
    if (parameter(request->query, "job", &value)) {
        if (!count_blob(value, request->length)) {
            refuse(connection, 404, LITERAL("NotFound"), LITERAL("there is no such job"));
            return;
        }
    } else if (parameter(request->query, "uploadId", &value)) {
        remember_more(key, request->length);
    } else {
        remember(key, request->length);
    }
    start_reply(connection, 200);
    add_etag(&connection->head);
    if (request->checksum.length > 0) { /* what was sent is what an appliance would have found */
        add(&connection->head, request->checksum);
        ADD(&connection->head, "\r\n");
    }
    end_empty(connection);
}

/* An upload in parts begins, or is complete. */
static void answer_upload(struct connection *connection, struct slice key)
{
    struct buffer *body = &connection->body;
    struct slice ignored;
    start_reply(connection, 200);
    if (parameter(connection->request.query, "uploads", &ignored)) {
        remember(key, 0);
        ADD(body, "<InitiateMultipartUploadResult" NAMESPACE "><Bucket>bench</Bucket><Key>");
        add_xml(body, key);
        ADD(body, "</Key><UploadId>0b1000</UploadId></InitiateMultipartUploadResult>");
    } else {
        ADD(body, "<CompleteMultipartUploadResult" NAMESPACE "><Bucket>bench</Bucket><ETag>\"" ETAG "\"</ETag><Key>");
        add_xml(body, key);
        ADD(body, "</Key><Location>http://127.0.0.1/bench</Location></CompleteMultipartUploadResult>");
    }
    end_body(connection);
}

void answer_object(struct connection *connection, struct slice key)
{
    struct slice method = connection->request.method;
    if (same(method, LITERAL("PUT"))) {
        take_object(connection, key);
    } else if (same(method, LITERAL("GET")) || same(method, LITERAL("HEAD"))) {
        give_object(connection, key);
    } else if (same(method, LITERAL("POST"))) {
        answer_upload(connection, key);
    } else {
        start_reply(connection, 204);
        end_empty(connection);
    }
}

/* -- the way there --------------------------------------------------------------------------------------------------- */

static bool splits(struct slice path, struct slice *bucket, struct slice *key)
{
    if (begins(path, LITERAL("/_")) || path.length < 2)
        return false;
    *bucket = after(path, 1);
    const char *slash = memchr(bucket->at, '/', bucket->length);
    *key = slash == NULL ? (struct slice){0} : after(*bucket, (size_t)(slash + 1 - bucket->at));
    bucket->length = slash == NULL ? bucket->length : (size_t)(slash - bucket->at);
    return true;
}

void choose_body(struct request *request)
{
    struct slice bucket, key;
    request->prompt = begins(request->path, LITERAL("/_bench_/"));
    request->keeps = is_bulk(request);
    request->counts = splits(request->path, &bucket, &key) && key.length > 0 &&
                      (same(request->method, LITERAL("PUT")) || same(request->method, LITERAL("GET")));
}

void answer(struct connection *connection)
{
    struct slice path = connection->request.path, bucket, key;
    char key_room[KEY_ROOM];
    if (!splits(path, &bucket, &key)) {
        if (path.length == 1)
            answer_service(connection);
        else if (begins(path, LITERAL("/_bench_/")))
            answer_bench(connection);
        else if (begins(path, LITERAL("/_rest_/")))
            answer_rest(connection);
        else
            missing(connection);
    } else if (!same(bucket, LITERAL("bench"))) {
        refuse(connection, 404, LITERAL("NoSuchBucket"), LITERAL("the bucket is called bench"));
    } else if (key.length == 0) {
        answer_bucket(connection);
    } else {
        if (memchr(key.at, '%', key.length) != NULL)
            key = unescaped(key, key_room, sizeof key_room);
        answer_object(connection, key);
    }
}
