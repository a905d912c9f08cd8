/* Options, threads and numbers of the yardstick server; server.h says what the other files do.
 *
 *     server [--port 0] [--delay-ms D] [--objects N --size BYTES [--prefix P]] [--checksum none|crc32c|crc32|md5]
 *            [--versions] [--workers N]
 *
 * Prints "port N" and serves until standard input ends or SIGTERM comes. The bucket is called bench. Every access key,
 * secret and signature is taken. What is put is dropped; what is got are the objects of --objects, --size and --prefix.
 * It tells of a job that it is COMPLETED when as many blobs have come as it has; which ones they were it does not ask,
 * nor whether an object of that name is there. One blob has up to 64 GiB; one range of an object is given, not several.
 * With --checksum none what is got has no digest, which no appliance does: clients of DS3 then ask for it, object by
 * object. The policy says MD5 all the same, and demands none.
 */
#define _GNU_SOURCE
#include "server.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_WORKERS = 16 };

/* More threads than the two cores of a small machine: under load each gets its share of them. */
struct settings settings = {.workers = 4};

static struct worker workers[MOST_WORKERS];
static _Atomic double cpu_at_reset;
static int listener;

/* -- numbers --------------------------------------------------------------------------------------------------------- */

static double cpu_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void tell_numbers(struct connection *connection)
{
    uint64_t requests = 0, puts = 0, gets = 0, in = 0, out = 0;
    double first = 0, last = 0;
    for (int i = 0; i < settings.workers; i++) {
        struct numbers *one = &workers[i].numbers;
        requests += one->requests, puts += one->puts, gets += one->gets;
        in += one->bytes_in, out += one->bytes_out;
        if (one->first > 0 && (first == 0 || one->first < first))
            first = one->first;
        if (one->last > last)
            last = one->last;
    }
    char text[512];
    int length = snprintf(text, sizeof text,
                          "{\"requests\": %llu, \"puts\": %llu, \"gets\": %llu, \"bytes_in\": %llu, \"bytes_out\": %llu, "
                          "\"first_body_byte\": %.9f, \"last_body_byte\": %.9f, \"cpu_seconds\": %.6f}\n",
                          (unsigned long long)requests, (unsigned long long)puts, (unsigned long long)gets,
                          (unsigned long long)in, (unsigned long long)out, first, last, cpu_seconds() - cpu_at_reset);
    add(&connection->body, (struct slice){text, (size_t)length});
}

void answer_bench(struct connection *connection)
{
    struct slice path = connection->request.path;
    if (same(path, LITERAL("/_bench_/stats"))) {
        start_reply(connection, 200);
        tell_numbers(connection);
        end_body(connection);
    } else if (same(path, LITERAL("/_bench_/reset"))) {
        for (int i = 0; i < settings.workers; i++) {
            struct numbers *one = &workers[i].numbers;
            one->requests = one->puts = one->gets = one->bytes_in = one->bytes_out = 0;
            one->first = one->last = 0;
        }
        cpu_at_reset = cpu_seconds();
        start_reply(connection, 204);
        end_empty(connection);
    } else {
        refuse(connection, 404, LITERAL("NotFound"), LITERAL("there are /_bench_/stats and /_bench_/reset"));
    }
}

/* -- threads --------------------------------------------------------------------------------------------------------- */

struct worker *next_worker(void)
{
    static unsigned turn; /* only the first worker accepts */
    return &workers[turn++ % (unsigned)settings.workers];
}

static void *run(void *worker)
{
    serve(worker, worker == &workers[0] ? listener : -1);
    return NULL;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void open_listener(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)settings.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    int yes = 1;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 1024) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        fail("listen");
    settings.port = ntohs(address.sin_port);
}

/* -- options --------------------------------------------------------------------------------------------------------- */

static void refuse_option(const char *why)
{
    fprintf(stderr, "server: %s\n", why);
    exit(2);
}

static uint64_t number_of(const char *text, uint64_t most)
{
    uint64_t number;
    if (!as_number((struct slice){text, strlen(text)}, &number) || number > most)
        refuse_option("an option has no such number");
    return number;
}

static void read_options(int count, char **words)
{
    static const struct option OPTIONS[] = {
        {"port", 1, NULL, 'p'},     {"delay-ms", 1, NULL, 'd'}, {"objects", 1, NULL, 'n'},
        {"size", 1, NULL, 's'},     {"prefix", 1, NULL, 'x'},   {"checksum", 1, NULL, 'c'},
        {"versions", 0, NULL, 'v'}, {"workers", 1, NULL, 'w'},  {NULL, 0, NULL, 0}};
    const char *checksum = "none";
    char *end;
    objects.prefix = LITERAL("P");
    for (int option; (option = getopt_long(count, words, "", OPTIONS, NULL)) != -1;) {
        switch (option) {
        case 'p': settings.port = (int)number_of(optarg, 65535); break;
        case 'd':
            settings.delay = strtod(optarg, &end) / 1000;
            if (*end != '\0' || end == optarg || !(settings.delay >= 0 && settings.delay < 3600))
                refuse_option("--delay-ms wants milliseconds");
            break;
        case 'n': objects.count = number_of(optarg, 1000000000); break;
        /* One blob each: the largest blob that an appliance makes. */
        case 's': objects.size = number_of(optarg, UINT64_C(64) << 30); break;
        case 'x': objects.prefix = (struct slice){optarg, strlen(optarg)}; break;
        case 'c': checksum = optarg; break;
        case 'v': settings.versions = true; break;
        case 'w': settings.workers = (int)number_of(optarg, MOST_WORKERS); break;
        default: exit(2);
        }
    }
    if (optind < count || settings.workers < 1)
        refuse_option("what is this?");
    if (strcmp(checksum, "none") != 0 && strcmp(checksum, "crc32") != 0 && strcmp(checksum, "crc32c") != 0 &&
        strcmp(checksum, "md5") != 0)
        refuse_option("--checksum is none, crc32c, crc32 or md5");
    /* So names need no escaping, in URLs, XML and JSON. */
    if (strspn(objects.prefix.at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-") !=
            objects.prefix.length || objects.prefix.length + NAME_DIGITS > NAME_ROOM)
        refuse_option("--prefix has up to 247 of A-Z a-z 0-9 / . _ -");
    make_objects(checksum);
}

int main(int count, char **words)
{
    read_options(count, words);
    open_listener();
    signal(SIGPIPE, SIG_IGN); /* sendfile knows no MSG_NOSIGNAL */
    cpu_at_reset = cpu_seconds(); /* what the digests took is no part of serving */
    for (int i = 0; i < settings.workers; i++) {
        workers[i].epoll = epoll_create1(EPOLL_CLOEXEC);
        workers[i].request_id = (uint64_t)i;
        if (workers[i].epoll < 0)
            fail("epoll");
    }
    pthread_t thread;
    for (int i = 0; i < settings.workers; i++) /* the first hands connections to all the others */
        if (pthread_create(&thread, NULL, run, &workers[i]) != 0)
            fail("a thread");
    printf("port %d\n", settings.port);
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    return 0;
}
