/* A client that does nothing but move the bytes: no journal, no job, no digest, no signature, no fsync.
 *
 *     limit put-large|get-large|put-small|get-small --port N [--connections C] --count N --size BYTES --dir DIR
 *     limit bare [--connections C] --size BYTES --dir DIR
 *
 * One thread a connection. Put reads the files P000000000... of DIR, get writes them there; large bodies go by sendfile
 * and come by splice into a file that fallocate has made, small ones by one sendmsg and by recv and write. `bare` moves
 * the first C of those files over as many pairs of sockets, by sendfile into recv with MSG_TRUNC, without any HTTP: the
 * most that sockets can do here. Prints one line of JSON; with anything unexpected it says so and exits with 1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 1024, HEAD_ROOM = 16 * 1024, PIPE_BYTES = 1024 * 1024 };
/* What one sendfile moves at most, and a small object may have. */
static const uint64_t MOST_AT_ONCE = 1 << 30, LARGEST_SMALL = 64 << 20;

static struct {
    int port;
    unsigned connections;
    uint64_t count, size;
    const char *folder;
} options = {.connections = 4};

static _Atomic uint64_t next_object;

/* A connection and what it needs; the buffer has room for a head and a small object. */
struct lane {
    pthread_t thread;
    int socket, pipe[2];
    char *buffer;
    size_t room;
};

static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("limit: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static void fail_call(const char *call)
{
    fail("%s: %s", call, strerror(errno));
}

static double seconds_of(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int open_object(uint64_t number, int flags)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/P%09llu", options.folder, (unsigned long long)number) >= (int)sizeof path)
        fail("the folder's name is too long");
    int file = open(path, flags | O_CLOEXEC, 0644);
    if (file < 0)
        fail("%s: %s", path, strerror(errno));
    return file;
}

static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int yes = 1, descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0 || connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0)
        fail_call("connect");
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return descriptor;
}

/* -- replies --------------------------------------------------------------------------------------------------------- */

/* Receive until the head of a reply is there, which has to be a success with `length` bytes of body; returns how many of
 * those have come too, and points `*body` to them. */
static size_t receive_head(struct lane *lane, uint64_t length, char **body)
{
    size_t filled = 0;
    char *end = NULL;
    while (end == NULL) {
        ssize_t count = recv(lane->socket, lane->buffer + filled, lane->room - filled, 0);
        if (count <= 0)
            fail("no reply: %s", count < 0 ? strerror(errno) : "the connection was closed");
        filled += (size_t)count;
        end = memmem(lane->buffer, filled, "\r\n\r\n", 4);
    }
    if (strncmp(lane->buffer, "HTTP/1.1 2", 10) != 0)
        fail("refused: %.*s", (int)filled, lane->buffer);
    *end = '\0';
    const char *told = strstr(lane->buffer, "Content-Length: ");
    if (told == NULL || strtoull(told + 16, NULL, 10) != length)
        fail("the reply has another length than %llu: %s", (unsigned long long)length, lane->buffer);
    *body = end + 4;
    return filled - (size_t)(*body - lane->buffer);
}

static void send_all(int socket, const char *text, size_t length, int flags)
{
    if (send(socket, text, length, flags) != (ssize_t)length)
        fail_call("send");
}

/* -- one object ------------------------------------------------------------------------------------------------------ */

static int put_head(char *head, size_t room, uint64_t number)
{
    return snprintf(head, room, "PUT /bench/c/P%09llu HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %llu\r\n\r\n",
                    (unsigned long long)number, (unsigned long long)options.size);
}

static int get_head(char *head, size_t room, uint64_t number)
{
    return snprintf(head, room, "GET /bench/P%09llu HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", (unsigned long long)number);
}

static void send_file(int socket, int file, uint64_t length)
{
    while (length > 0) {
        ssize_t count = sendfile(socket, file, NULL, length < MOST_AT_ONCE ? length : MOST_AT_ONCE);
        if (count <= 0)
            fail("sendfile: %s", count < 0 ? strerror(errno) : "the file is too short");
        length -= (uint64_t)count;
    }
}

static void put_large(struct lane *lane, uint64_t number)
{
    char head[256], *body;
    int length = put_head(head, sizeof head, number), file = open_object(number, O_RDONLY);
    send_all(lane->socket, head, (size_t)length, MSG_MORE);
    send_file(lane->socket, file, options.size);
    close(file);
    receive_head(lane, 0, &body);
}

static void get_large(struct lane *lane, uint64_t number)
{
    char head[256], *body;
    int file = open_object(number, O_WRONLY | O_CREAT | O_TRUNC), length = get_head(head, sizeof head, number);
    if (options.size > 0 && fallocate(file, 0, 0, (off_t)options.size) < 0)
        fail_call("fallocate");
    send_all(lane->socket, head, (size_t)length, 0);
    size_t there = receive_head(lane, options.size, &body);
    if (there > 0 && pwrite(file, body, there, 0) != (ssize_t)there)
        fail_call("pwrite");
    uint64_t left = options.size - there;
    off_t offset = (off_t)there;
    while (left > 0) {
        ssize_t held = splice(lane->socket, NULL, lane->pipe[1], NULL, left < PIPE_BYTES ? left : PIPE_BYTES,
                              SPLICE_F_MOVE | SPLICE_F_MORE);
        if (held <= 0)
            fail("splice: %s", held < 0 ? strerror(errno) : "the connection was closed");
        left -= (uint64_t)held;
        while (held > 0) {
            ssize_t count = splice(lane->pipe[0], NULL, file, &offset, (size_t)held, SPLICE_F_MOVE);
            if (count <= 0)
                fail_call("splice");
            held -= count;
        }
    }
    close(file);
}

static void put_small(struct lane *lane, uint64_t number)
{
    char head[256], *body;
    int file = open_object(number, O_RDONLY);
    if (read(file, lane->buffer + HEAD_ROOM, options.size) != (ssize_t)options.size)
        fail("P%09llu is too short", (unsigned long long)number);
    close(file);
    struct iovec parts[2] = {{head, (size_t)put_head(head, sizeof head, number)},
                             {lane->buffer + HEAD_ROOM, options.size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    if (sendmsg(lane->socket, &message, 0) != (ssize_t)(parts[0].iov_len + options.size))
        fail_call("sendmsg");
    receive_head(lane, 0, &body);
}

static void get_small(struct lane *lane, uint64_t number)
{
    char head[256], *body;
    send_all(lane->socket, head, (size_t)get_head(head, sizeof head, number), 0);
    size_t there = receive_head(lane, options.size, &body);
    while (there < options.size) {
        ssize_t count = recv(lane->socket, body + there, options.size - there, 0);
        if (count <= 0)
            fail("recv: %s", count < 0 ? strerror(errno) : "the connection was closed");
        there += (size_t)count;
    }
    int file = open_object(number, O_WRONLY | O_CREAT | O_TRUNC);
    if (write(file, body, options.size) != (ssize_t)options.size)
        fail_call("write");
    close(file);
}

static void move_bare(struct lane *lane, uint64_t number)
{
    int file = open_object(number, O_RDONLY);
    send_file(lane->socket, file, options.size);
    close(file);
    char byte;
    shutdown(lane->socket, SHUT_WR);
    if (recv(lane->socket, &byte, 1, 0) != 0) /* the other end has had all */
        fail("the other end sent something");
}

/* The other end of a pair of `bare`. */
static void *drain(void *socket)
{
    int descriptor = *(int *)socket;
    while (recv(descriptor, NULL, MOST_AT_ONCE, MSG_TRUNC) > 0)
        continue;
    close(descriptor);
    return NULL;
}

/* -- all of them ----------------------------------------------------------------------------------------------------- */

static void (*move)(struct lane *, uint64_t);

static void *work(void *lane)
{
    for (uint64_t number; (number = atomic_fetch_add(&next_object, 1)) < options.count;)
        move(lane, number); /* bare: one a thread, since it ends the connection */
    return NULL;
}

static void connect_lane(struct lane *lane)
{
    lane->room = move == put_small || move == get_small ? HEAD_ROOM + options.size : HEAD_ROOM;
    lane->buffer = malloc(lane->room);
    if (lane->buffer == NULL)
        fail_call("malloc");
    lane->socket = connect_to(options.port);
    if (move == get_large && (pipe2(lane->pipe, O_CLOEXEC) < 0 || fcntl(lane->pipe[0], F_SETPIPE_SZ, PIPE_BYTES) < 0))
        fail_call("a pipe of 1 MiB");
}

/* Listen, connect the lanes to here, and let a thread drain each. */
static void connect_bare(struct lane *lanes)
{
    static int ends[MOST_CONNECTIONS];
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 ||
        listen(listener, MOST_CONNECTIONS) < 0 || getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        fail_call("listen");
    options.count = options.connections;
    for (unsigned i = 0; i < options.connections; i++) {
        pthread_t thread;
        lanes[i].socket = connect_to(ntohs(address.sin_port));
        ends[i] = accept(listener, NULL, NULL);
        if (ends[i] < 0 || pthread_create(&thread, NULL, drain, &ends[i]) != 0)
            fail_call("a pair");
    }
}

static uint64_t number_of(const char *text)
{
    char *end;
    uint64_t number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0')
        fail("%s is no number", text);
    return number;
}

static void read_options(int count, char **words)
{
    static const struct option OPTIONS[] = {{"port", 1, NULL, 'p'}, {"connections", 1, NULL, 'c'},
                                            {"count", 1, NULL, 'n'}, {"size", 1, NULL, 's'},
                                            {"dir", 1, NULL, 'd'},  {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(count, words, "", OPTIONS, NULL)) != -1;) {
        switch (option) {
        case 'p': options.port = (int)number_of(optarg); break;
        case 'c': options.connections = (unsigned)number_of(optarg); break;
        case 'n': options.count = number_of(optarg); break;
        case 's': options.size = number_of(optarg); break;
        case 'd': options.folder = optarg; break;
        default: exit(2);
        }
    }
    const char *mode = optind == count - 1 ? words[optind] : "";
    move = strcmp(mode, "put-large") == 0   ? put_large
           : strcmp(mode, "get-large") == 0 ? get_large
           : strcmp(mode, "put-small") == 0 ? put_small
           : strcmp(mode, "get-small") == 0 ? get_small
           : strcmp(mode, "bare") == 0      ? move_bare
                                            : NULL;
    if (move == NULL)
        fail("say one of put-large, get-large, put-small, get-small, bare");
    if (options.folder == NULL)
        fail("--dir is missing");
    if ((move == put_small || move == get_small) && options.size > LARGEST_SMALL)
        fail("a small object has up to %llu bytes", (unsigned long long)LARGEST_SMALL);
    if (options.connections < 1 || options.connections > MOST_CONNECTIONS)
        fail("--connections is 1 to %d", MOST_CONNECTIONS);
}

int main(int count, char **words)
{
    static struct lane lanes[MOST_CONNECTIONS];
    read_options(count, words);
    if (move == move_bare)
        connect_bare(lanes);
    for (unsigned i = 0; move != move_bare && i < options.connections; i++)
        connect_lane(&lanes[i]);
    double start = seconds_of(CLOCK_MONOTONIC);
    for (unsigned i = 0; i < options.connections; i++)
        if (pthread_create(&lanes[i].thread, NULL, work, &lanes[i]) != 0)
            fail("no thread");
    for (unsigned i = 0; i < options.connections; i++)
        pthread_join(lanes[i].thread, NULL);
    double seconds = seconds_of(CLOCK_MONOTONIC) - start;
    double bytes = (double)options.count * (double)options.size;
    printf("{\"seconds\": %.6f, \"bytes\": %.0f, \"gb_per_s\": %.4f, \"requests_per_s\": %.1f, \"cpu_seconds\": %.6f}\n",
           seconds, bytes, bytes / seconds / 1e9, (double)options.count / seconds,
           seconds_of(CLOCK_PROCESS_CPUTIME_ID));
    return 0;
}
