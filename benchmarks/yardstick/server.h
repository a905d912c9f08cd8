/* A server for benchmarks that costs as little as a server can: what its parts know of each other.
 *
 * http.c     connections, heads of requests, sending
 * ds3.c      the bulk-job answers of the DS3 protocol
 * s3.c       objects and listings, for DS3 and S3 alike
 * virtual.c  the objects that exist without being stored
 * digests.c  CRC-32, CRC-32C and MD5
 * text.c     growing buffers and slices of text
 * server.c   options, threads, numbers
 */
#ifndef YARDSTICK_SERVER_H
#define YARDSTICK_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* -- text.c -------------------------------------------------------------------------------------------------------- */

/* Bytes of somebody else's. */
struct slice {
    const char *at;
    size_t length;
};

#define LITERAL(text) ((struct slice){(text), sizeof(text) - 1})

/* Bytes that grow; memory that cannot be had ends the program. */
struct buffer {
    char *at;
    size_t used, room;
};

void *claimed(void *memory);
bool same(struct slice one, struct slice other);
bool begins(struct slice text, struct slice start);
struct slice after(struct slice text, size_t count);
/* The number in decimal that `text` is; false when it is none or above 2^62. */
bool as_number(struct slice text, uint64_t *number);
/* The value of a parameter of a query, still escaped; false when it is not there. Without "=" it is empty. */
bool parameter(struct slice query, const char *name, struct slice *value);
/* `text` with its %XX undone, into `room` bytes at `into`; what does not fit is dropped. */
struct slice unescaped(struct slice text, char *into, size_t room);
void reserve(struct buffer *out, size_t more);
void add(struct buffer *out, struct slice text);
void add_number(struct buffer *out, uint64_t number);
void add_hex(struct buffer *out, uint64_t number, int digits);
void add_xml(struct buffer *out, struct slice text);
#define ADD(out, text) add((out), LITERAL(text))

/* -- http.c -------------------------------------------------------------------------------------------------------- */

enum { HEAD_ROOM = 16 * 1024 };

/* One request; its slices point into the connection's input, which stays until the answer is made. */
struct request {
    struct slice method, path, query, range, checksum; /* checksum: the whole line of the header that was sent */
    uint64_t length;
    bool expects, closes, keeps; /* keeps: the body is kept for the answer, else it is dropped in the kernel */
    bool counts;                 /* it is about an object's bytes, whose first and last the numbers tell */
    bool chunked, prompt;        /* prompt: the answer is never delayed */
    char *body;
};

enum state { READING, DROPPING, KEEPING, WAITING, SENDING };

struct worker;

struct connection {
    int descriptor;
    enum state state;
    uint32_t armed; /* the events epoll watches for */
    int least;      /* bytes for which it tells of input */
    struct worker *worker;
    struct request request;
    size_t filled, taken;     /* of `input`: bytes in it, bytes that belong to the request at hand */
    uint64_t left;            /* of the body that comes, or of the pattern that goes */
    uint64_t offset;          /* in the pattern */
    struct buffer head, body; /* what goes out before the pattern */
    size_t sent;              /* of head and body together */
    double due;
    bool gone;               /* the other side went while the answer waited */
    struct connection *next; /* of those that wait for their time */
    char input[HEAD_ROOM];
};

/* Numbers of one thread; written by it alone, read by any. */
struct numbers {
    _Atomic uint64_t requests, puts, gets, bytes_in, bytes_out;
    _Atomic double first, last;
};

struct worker {
    int epoll;
    uint64_t request_id;
    struct numbers numbers;
    struct connection *first_waiting, *last_waiting;
    char date[40]; /* of the second `date_of` */
    long date_of;
};

double now(void);
void serve(struct worker *worker, int listener);
/* Begin the reply's head; the caller may add lines to `head`, and ends with one of the three below. */
void start_reply(struct connection *connection, int status);
void end_empty(struct connection *connection);
/* The content of `body` follows. */
void end_body(struct connection *connection);
/* `length` bytes of the pattern from `offset` follow, none of them when the request was HEAD. */
void end_pattern(struct connection *connection, uint64_t offset, uint64_t length);
void refuse(struct connection *connection, int status, struct slice code, struct slice message);
/* Decide how the body is taken; called when the head is there. */
void choose_body(struct request *request);
/* Make the answer; called when the body is there. */
void answer(struct connection *connection);

/* -- ds3.c, s3.c ----------------------------------------------------------------------------------------------------- */

bool is_bulk(const struct request *request);
void answer_rest(struct connection *connection);
void answer_service(struct connection *connection);
void answer_bucket(struct connection *connection);
void answer_object(struct connection *connection, struct slice key);
/* One more blob, of `length` bytes, of the job has come or gone; false when there is no such job. */
bool count_blob(struct slice job_id, uint64_t length);

/* -- virtual.c ------------------------------------------------------------------------------------------------------- */

enum { NAME_DIGITS = 9, NAME_ROOM = 256 };

/* The objects that exist: names of `prefix` and nine digits, all with the first `size` bytes of the pattern. */
struct objects {
    uint64_t count, size;
    struct slice prefix;
    int pattern;               /* a file in memory of `period` bytes, which the content repeats */
    const char *pattern_bytes; /* the same, mapped */
    uint64_t period;
    const char *checksum_name; /* as in the header; NULL for none */
    const char *checksum_type; /* as in a data policy */
    char checksum[32];         /* in base64 */
};

extern struct objects objects;

void make_objects(const char *checksum);
/* The number of the object called `name`; false when there is none. */
bool find_object(struct slice name, uint64_t *number);
/* The name of an object, into NAME_ROOM bytes. */
struct slice name_of(uint64_t number, char *into);
/* The numbers of the objects whose names begin with `prefix` and come after `marker`: from `*start` below `*end`. */
void range_of(struct slice prefix, struct slice marker, uint64_t *start, uint64_t *end);

/* -- digests.c ------------------------------------------------------------------------------------------------------- */

/* The digest of `length` bytes that repeat `period` bytes at `bytes`; returns its size, up to 16 bytes. */
int crc32_of(const char *bytes, uint64_t period, uint64_t length, unsigned char *digest);
int crc32c_of(const char *bytes, uint64_t period, uint64_t length, unsigned char *digest);
int md5_of(const char *bytes, uint64_t period, uint64_t length, unsigned char *digest);
void in_base64(const unsigned char *bytes, int count, char *text);

/* -- server.c -------------------------------------------------------------------------------------------------------- */

struct settings {
    int port, workers;
    double delay; /* seconds */
    bool versions;
};

extern struct settings settings;

struct worker *next_worker(void);
void answer_bench(struct connection *connection);

#endif
