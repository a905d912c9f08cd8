/* The answers of the DS3 protocol that a bulk put or get needs: bucket, data policy, jobs and their chunks.
 *
 * A job keeps the body it was made from, and points to the names in it: they are written out again as they came.
 */
#define _GNU_SOURCE
#include "server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { MOST_JOBS = 65536, BLOBS_PER_CHUNK = 100000, ID_LENGTH = 36 };
static const uint64_t LARGEST_BLOB = UINT64_C(64) << 30;

#define BUCKET_ID "b0c4e7be-0000-4000-8000-000000000000"
#define POLICY_ID "da7a0011-0000-4000-8000-000000000000"
#define USER_ID "05e40000-0000-4000-8000-000000000000"
#define NODE_ID "0de00000-0000-4000-8000-000000000000"
#define OLD "2024-01-01T00:00:00.000Z"

struct item {
    const char *name; /* as XML has it */
    uint32_t length;
    uint64_t size;
};

struct job {
    uint64_t number;
    bool gets, canceled;
    char started[32];
    char name[200];
    struct slice name_used;
    size_t count, room;
    struct item *items; /* NULL once the job is over */
    char *body;
    uint64_t blobs, bytes, blob_size;
    _Atomic uint64_t moved_blobs, moved_bytes;
};

/* Guards everything of jobs but the two counts; a put takes it once a job. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct job *_Atomic jobs[MOST_JOBS];
static uint64_t jobs_made;

/* -- ids ------------------------------------------------------------------------------------------------------------- */

static void add_id(struct buffer *out, uint64_t job, const char *kind, uint64_t number)
{
    add_hex(out, job, 8);
    add(out, (struct slice){kind, 16}); /* "-0000-4000-8000-" and the like */
    add_hex(out, number, 12);
}

/* The job whose id, or whose chunk's id, this is. */
static struct job *job_of(struct slice id)
{
    uint64_t number = 0;
    if (id.length != ID_LENGTH)
        return NULL;
    for (int i = 0; i < 8; i++) {
        char digit = id.at[i];
        if (digit >= '0' && digit <= '9')
            number = number * 16 + (uint64_t)(digit - '0');
        else if (digit >= 'a' && digit <= 'f')
            number = number * 16 + (uint64_t)(digit - 'a' + 10);
        else
            return NULL;
    }
    return number < MOST_JOBS ? atomic_load_explicit(&jobs[number], memory_order_acquire) : NULL;
}

/* -- what a body asks for -------------------------------------------------------------------------------------------- */

/* Read one attribute at `*at`, before `end`; false at the end of the element, or with `*broken`. */
static bool next_attribute(const char **at, const char *end, struct slice *name, struct slice *value, bool *broken)
{
    const char *here = *at;
    while (here < end && (*here == ' ' || *here == '\n' || *here == '\t' || *here == '\r'))
        here++;
    *at = here;
    if (here >= end || *here == '/' || *here == '>')
        return false;
    const char *equals = memchr(here, '=', (size_t)(end - here));
    const char *close = equals == NULL || equals + 1 >= end || equals[1] != '"'
                            ? NULL : memchr(equals + 2, '"', (size_t)(end - equals - 2));
    if (close == NULL) {
        *broken = true;
        return false;
    }
    *name = (struct slice){here, (size_t)(equals - here)};
    *value = (struct slice){equals + 2, (size_t)(close - equals - 2)};
    *at = close + 1;
    return true;
}

/* Fill the job from its body; NULL when that went well, else what is wrong. */
static const char *read_objects(struct job *job, size_t length)
{
    const char *at = job->body, *end = at + length;
    while ((at = memmem(at, (size_t)(end - at), "<Object", 7)) != NULL) {
        at += 7;
        if (at < end && *at == 's') /* the root */
            continue;
        struct slice name, value, key = {0};
        bool broken = false;
        uint64_t size = 0;
        while (next_attribute(&at, end, &name, &value, &broken)) {
            if (same(name, LITERAL("Name")))
                key = value;
            else if (same(name, LITERAL("Size")) && !as_number(value, &size))
                broken = true;
        }
        if (broken || key.length == 0)
            return "an object of the job cannot be read";
        if (job->gets) {
            uint64_t number;
            if (!find_object(key, &number))
                return "an object of the job is not there";
            size = objects.size;
            /* Ranges of one object stand together, and are of one blob. */
            if (job->count > 0 && same(key, (struct slice){job->items[job->count - 1].name, job->items[job->count - 1].length}))
                continue;
        }
        if (job->count == job->room) {
            job->room = job->room * 2 + 1024;
            job->items = claimed(realloc(job->items, job->room * sizeof *job->items));
        }
        job->items[job->count++] = (struct item){key.at, (uint32_t)key.length, size};
        job->blobs += size == 0 ? 1 : (size + job->blob_size - 1) / job->blob_size;
        job->bytes += size;
    }
    return job->count > 0 ? NULL : "the job has no objects";
}

static void free_objects(struct job *job)
{
    free(job->items);
    free(job->body);
    job->items = NULL, job->body = NULL;
}

/* -- what is told of a job ------------------------------------------------------------------------------------------- */

static bool is_over(const struct job *job)
{
    return job->canceled || atomic_load(&job->moved_blobs) >= job->blobs;
}

static void add_job(struct buffer *out, struct job *job)
{
    uint64_t moved = atomic_load(&job->moved_bytes);
    ADD(out, " Aggregating=\"false\" BucketName=\"bench\" CachedSizeInBytes=\"");
    add_number(out, job->gets ? job->bytes : moved);
    if (job->gets)
        ADD(out, "\" ChunkClientProcessingOrderGuarantee=\"NONE\" CompletedSizeInBytes=\"");
    else
        ADD(out, "\" ChunkClientProcessingOrderGuarantee=\"IN_ORDER\" CompletedSizeInBytes=\"");
    add_number(out, is_over(job) || job->gets ? moved : 0);
    ADD(out, "\" EntirelyInCache=\"");
    if (job->gets || is_over(job))
        ADD(out, "true");
    else
        ADD(out, "false");
    ADD(out, "\" JobId=\"");
    add_id(out, job->number, "-0000-4000-8000-", 0);
    ADD(out, "\" Naked=\"false\" Name=\"");
    add_xml(out, job->name_used);
    ADD(out, "\" OriginalSizeInBytes=\"");
    add_number(out, job->bytes);
    if (job->gets)
        ADD(out, "\" Priority=\"HIGH\" RequestType=\"GET\" StartDate=\"");
    else
        ADD(out, "\" Priority=\"NORMAL\" RequestType=\"PUT\" StartDate=\"");
    add(out, (struct slice){job->started, strlen(job->started)});
    ADD(out, "\" Status=\"");
    if (job->canceled)
        ADD(out, "CANCELED");
    else if (is_over(job))
        ADD(out, "COMPLETED");
    else
        ADD(out, "IN_PROGRESS");
    ADD(out, "\" UserId=\"" USER_ID "\" UserName=\"bench\"><Nodes><Node EndPoint=\"127.0.0.1\" HttpPort=\"");
    add_number(out, (uint64_t)settings.port);
    ADD(out, "\" Id=\"" NODE_ID "\"/></Nodes>");
}

static void add_chunk_start(struct buffer *out, const struct job *job, uint64_t chunk)
{
    ADD(out, "<Objects ChunkId=\"");
    add_id(out, job->number, "-0000-4002-8000-", chunk);
    ADD(out, "\" ChunkNumber=\"");
    add_number(out, chunk);
    ADD(out, "\" NodeId=\"" NODE_ID "\">");
}

/* The chunks of a job that is not over: all of them, or number `only` unless that is 0. */
static void add_chunks(struct buffer *out, const struct job *job, uint64_t only)
{
    uint64_t blob = 0;
    if (only == 0)
        reserve(out, job->blobs * 256);
    for (size_t i = 0; i < job->count; i++) {
        const struct item *item = &job->items[i];
        uint64_t offset = 0, version = i, maker = job->number;
        if (job->gets) {
            find_object((struct slice){item->name, item->length}, &version);
            maker = 0;
        }
        do {
            uint64_t length = item->size - offset < job->blob_size ? item->size - offset : job->blob_size;
            uint64_t chunk = blob / BLOBS_PER_CHUNK + 1;
            if (only == 0 || only == chunk) {
                if (blob % BLOBS_PER_CHUNK == 0)
                    add_chunk_start(out, job, chunk);
                ADD(out, "<Object Bucket=\"bench\" Id=\"");
                add_id(out, job->number, "-0000-4003-8000-", blob);
                if (job->gets)
                    ADD(out, "\" InCache=\"true\" Latest=\"true\" Length=\"");
                else
                    ADD(out, "\" InCache=\"false\" Latest=\"true\" Length=\"");
                add_number(out, length);
                ADD(out, "\" Name=\"");
                add(out, (struct slice){item->name, item->length});
                ADD(out, "\" Offset=\"");
                add_number(out, offset);
                ADD(out, "\" VersionId=\"");
                add_id(out, maker, "-0000-4001-8000-", version);
                ADD(out, "\"/>");
                if (blob % BLOBS_PER_CHUNK == BLOBS_PER_CHUNK - 1 || blob == job->blobs - 1)
                    ADD(out, "</Objects>");
            }
            blob++;
            offset += length;
        } while (offset < item->size);
    }
}

static void answer_list(struct connection *connection, struct job *job, bool retry_after)
{
    struct buffer *body = &connection->body;
    start_reply(connection, 200);
    if (retry_after)
        ADD(&connection->head, "Retry-After: 1\r\n");
    ADD(body, "<MasterObjectList");
    add_job(body, job);
    if (job->items != NULL)
        add_chunks(body, job, 0);
    ADD(body, "</MasterObjectList>");
    end_body(connection);
}

/* -- requests about jobs --------------------------------------------------------------------------------------------- */

static void not_found(struct connection *connection)
{
    refuse(connection, 404, LITERAL("NotFound"), LITERAL("there is no such thing here"));
}

bool count_blob(struct slice job_id, uint64_t length)
{
    struct job *job = job_of(job_id);
    if (job == NULL)
        return false;
    atomic_fetch_add(&job->moved_bytes, length);
    if (atomic_fetch_add(&job->moved_blobs, 1) + 1 == job->blobs) {
        pthread_mutex_lock(&lock);
        free_objects(job);
        pthread_mutex_unlock(&lock);
    }
    return true;
}

static bool is_operation(const struct request *request, const char *name)
{
    struct slice value;
    return parameter(request->query, "operation", &value) && value.length == strlen(name) &&
           strncasecmp(value.at, name, value.length) == 0;
}

bool is_bulk(const struct request *request)
{
    return begins(request->path, LITERAL("/_rest_/bucket/")) &&
           (is_operation(request, "start_bulk_put") || is_operation(request, "start_bulk_get"));
}

static void make_job(struct connection *connection)
{
    struct request *request = &connection->request;
    struct slice value;
    struct job *job = claimed(calloc(1, sizeof *job));
    time_t second = time(NULL);
    struct tm parts;
    strftime(job->started, sizeof job->started, "%Y-%m-%dT%H:%M:%S.000Z", gmtime_r(&second, &parts));
    job->gets = is_operation(request, "start_bulk_get");
    if (parameter(request->query, "name", &value))
        job->name_used = unescaped(value, job->name, sizeof job->name);
    if (job->gets || !parameter(request->query, "max_upload_size", &value) || !as_number(value, &job->blob_size) ||
        job->blob_size == 0)
        job->blob_size = LARGEST_BLOB;
    job->body = request->body;
    request->body = NULL;
    const char *wrong = read_objects(job, request->length);
    pthread_mutex_lock(&lock);
    if (wrong == NULL && jobs_made == MOST_JOBS)
        wrong = "there have been too many jobs";
    if (wrong != NULL) {
        refuse(connection, job->gets ? 404 : 400, LITERAL("BadRequest"), (struct slice){wrong, strlen(wrong)});
        free_objects(job);
        free(job);
    } else {
        job->number = jobs_made++;
        answer_list(connection, job, false);
        atomic_store_explicit(&jobs[job->number], job, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
}

static void list_jobs(struct connection *connection)
{
    struct buffer *body = &connection->body;
    start_reply(connection, 200);
    ADD(body, "<Jobs>");
    for (uint64_t i = 0; i < jobs_made; i++)
        if (!is_over(jobs[i])) {
            ADD(body, "<Job");
            add_job(body, jobs[i]);
            ADD(body, "</Job>");
        }
    ADD(body, "</Jobs>");
    end_body(connection);
}

static void answer_job(struct connection *connection, struct slice id)
{
    struct job *job = job_of(id);
    if (id.length == 0) {
        list_jobs(connection);
    } else if (job == NULL) {
        not_found(connection);
    } else if (same(connection->request.method, LITERAL("DELETE"))) {
        job->canceled = !is_over(job);
        free_objects(job);
        start_reply(connection, 204);
        end_empty(connection);
    } else {
        answer_list(connection, job, false);
    }
}

/* Chunks that are ready: all of them, always. */
static void answer_ready(struct connection *connection)
{
    struct slice id;
    struct job *job = parameter(connection->request.query, "job", &id) ? job_of(id) : NULL;
    if (job == NULL)
        not_found(connection);
    else if (is_over(job))
        refuse(connection, 410, LITERAL("Gone"), LITERAL("nothing of the job is left to do"));
    else
        answer_list(connection, job, true);
}

/* One chunk by itself: shown, or allocated, which it is anyway. */
static void answer_chunk(struct connection *connection, struct slice id)
{
    struct job *job = job_of(id);
    uint64_t number = id.length == ID_LENGTH ? strtoull(id.at + ID_LENGTH - 12, NULL, 16) : 0;
    if (job == NULL || job->items == NULL || number < 1 || number > (job->blobs - 1) / BLOBS_PER_CHUNK + 1) {
        not_found(connection);
        return;
    }
    start_reply(connection, 200);
    add_chunks(&connection->body, job, number);
    end_body(connection);
}

/* -- the rest of the REST -------------------------------------------------------------------------------------------- */

static void answer_with(struct connection *connection, struct slice text)
{
    start_reply(connection, 200);
    add(&connection->body, text);
    end_body(connection);
}

static void show_policy(struct connection *connection)
{
    struct buffer *body = &connection->body;
    start_reply(connection, 200);
    ADD(body, "<Data><BlobbingEnabled>true</BlobbingEnabled><ChecksumType>");
    add(body, (struct slice){objects.checksum_type, strlen(objects.checksum_type)});
    ADD(body, "</ChecksumType><CreationDate>" OLD "</CreationDate><DefaultBlobSize/>"
              "<DefaultGetJobPriority>HIGH</DefaultGetJobPriority><DefaultPutJobPriority>NORMAL</DefaultPutJobPriority>"
              "<DefaultVerifyJobPriority>LOW</DefaultVerifyJobPriority><EndToEndCrcRequired>false</EndToEndCrcRequired>"
              "<Id>" POLICY_ID "</Id><MaxVersionsToKeep>1000</MaxVersionsToKeep><Name>bench</Name><Versioning>");
    if (settings.versions)
        ADD(body, "KEEP_MULTIPLE_VERSIONS");
    else
        ADD(body, "NONE");
    ADD(body, "</Versioning></Data>");
    end_body(connection);
}

static bool is_resource(struct slice path, struct slice resource, struct slice *id)
{
    if (!begins(path, resource))
        return false;
    *id = after(path, resource.length);
    if (id->length == 0)
        return true;
    *id = after(*id, 1);
    return id->at[-1] == '/';
}

void answer_rest(struct connection *connection)
{
    struct request *request = &connection->request;
    struct slice id, path = after(request->path, sizeof "/_rest_/" - 1);
    if (is_bulk(request)) {
        if (is_resource(path, LITERAL("bucket/bench"), &id) && id.length == 0)
            make_job(connection);
        else
            not_found(connection);
        return;
    }
    pthread_mutex_lock(&lock);
    if (is_resource(path, LITERAL("job_chunk"), &id)) {
        if (id.length == 0)
            answer_ready(connection);
        else
            answer_chunk(connection, id);
    } else if (is_resource(path, LITERAL("job"), &id) || is_resource(path, LITERAL("active_job"), &id)) {
        answer_job(connection, id);
    } else if (is_resource(path, LITERAL("data_policy"), &id) && id.length > 0) {
        show_policy(connection);
    } else if (same(path, LITERAL("bucket/bench")) && same(request->method, LITERAL("GET"))) {
        answer_with(connection, LITERAL("<Data><CreationDate>" OLD "</CreationDate><DataPolicyId>" POLICY_ID
                                        "</DataPolicyId><Empty>false</Empty><Id>" BUCKET_ID "</Id>"
                                        "<LastPreferredChunkSizeInBytes/><LogicalUsedCapacity>0</LogicalUsedCapacity>"
                                        "<Name>bench</Name><Protected>false</Protected><UserId>" USER_ID
                                        "</UserId></Data>"));
    } else if (is_resource(path, LITERAL("system_information"), &id)) {
        answer_with(connection, LITERAL("<Data><ApiVersion>6.0</ApiVersion><BackendActivated>true</BackendActivated>"
                                        "<BuildInformation><Branch/><Revision/><Version>5.8.0</Version>"
                                        "</BuildInformation><SerialNumber>yardstick</SerialNumber></Data>"));
    } else {
        not_found(connection);
    }
    pthread_mutex_unlock(&lock);
}
