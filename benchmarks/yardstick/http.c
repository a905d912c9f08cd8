/* Connections: requests in, replies out, in one loop of epoll a thread.
 *
 * Level-triggered, since then a request costs three calls (epoll_wait, recv, sendmsg) and several requests share the
 * first. Bodies of puts are dropped by recv with MSG_TRUNC, which frees them in the kernel without a copy.
 */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 64, MOST_AT_ONCE = 1 << 30 };
/* Up to here a copy costs less than a call of sendfile. */
enum { MOST_COPIED = 64 * 1024 };
/* A large body wakes its thread for so many bytes, not for each few: that was half of the cost. With more the sender
 * waits for room in between. */
enum { LEAST_OF_LARGE = 256 * 1024 };
static const uint64_t LONGEST_KEPT = UINT64_C(1) << 30;

double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void bump(_Atomic uint64_t *number, uint64_t by)
{
    /* One thread writes it: no locked instruction is needed. */
    atomic_store_explicit(number, atomic_load_explicit(number, memory_order_relaxed) + by, memory_order_relaxed);
}

static void note_first(struct numbers *numbers)
{
    if (atomic_load_explicit(&numbers->first, memory_order_relaxed) == 0)
        atomic_store_explicit(&numbers->first, now(), memory_order_relaxed);
}

static void arm(struct connection *connection, uint32_t events)
{
    if (connection->armed == events)
        return;
    struct epoll_event event = {.events = events, .data.ptr = connection};
    epoll_ctl(connection->worker->epoll, EPOLL_CTL_MOD, connection->descriptor, &event);
    connection->armed = events;
}

/* Have epoll wait for so many bytes of a body of which `left` are to come. */
static void pace(struct connection *connection, uint64_t left)
{
    int least = left < LEAST_OF_LARGE ? 1 : LEAST_OF_LARGE;
    if (least != connection->least) {
        setsockopt(connection->descriptor, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least);
        connection->least = least;
    }
}

static void drop(struct connection *connection)
{
    /* Whoever accepted it may not have come back from adding it yet, and so still hold the file: closing alone would
       leave it with epoll, which would tell of a connection that is no more. */
    epoll_ctl(connection->worker->epoll, EPOLL_CTL_DEL, connection->descriptor, NULL);
    close(connection->descriptor);
    free(connection->request.body);
    free(connection->head.at);
    free(connection->body.at);
    free(connection);
}

/* -- replies --------------------------------------------------------------------------------------------------------- */

void start_reply(struct connection *connection, int status)
{
    static const struct {
        int status;
        const char *reason;
    } REASONS[] = {{200, "OK"},        {204, "No Content"},        {206, "Partial Content"},
                   {400, "Bad Request"}, {404, "Not Found"},       {411, "Length Required"},
                   {413, "Too Large"},   {416, "Range Not Satisfiable"}, {501, "Not Implemented"}};
    struct worker *worker = connection->worker;
    struct buffer *head = &connection->head;
    time_t second = time(NULL);
    if (second != worker->date_of) {
        struct tm parts;
        worker->date_of = second;
        strftime(worker->date, sizeof worker->date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&second, &parts));
    }
    head->used = connection->body.used = connection->sent = 0;
    connection->left = connection->offset = 0;
    ADD(head, "HTTP/1.1 ");
    add_number(head, (uint64_t)status);
    for (size_t i = 0; i < sizeof REASONS / sizeof *REASONS; i++)
        if (REASONS[i].status == status) {
            ADD(head, " ");
            add(head, (struct slice){REASONS[i].reason, strlen(REASONS[i].reason)});
        }
    ADD(head, "\r\nDate: ");
    add(head, (struct slice){worker->date, strlen(worker->date)});
    ADD(head, "\r\nServer: yardstick\r\nx-amz-request-id: ");
    worker->request_id += (uint64_t)settings.workers;
    add_number(head, worker->request_id);
    ADD(head, "\r\n");
    if (connection->request.closes)
        ADD(head, "Connection: close\r\n");
}

static void end_head(struct connection *connection, uint64_t length)
{
    ADD(&connection->head, "Content-Length: ");
    add_number(&connection->head, length);
    ADD(&connection->head, "\r\n\r\n");
}

static bool asks_head(const struct connection *connection)
{
    return same(connection->request.method, LITERAL("HEAD"));
}

void end_empty(struct connection *connection)
{
    end_head(connection, 0);
}

void end_body(struct connection *connection)
{
    ADD(&connection->head, "Content-Type: application/xml\r\n");
    end_head(connection, connection->body.used);
    if (asks_head(connection))
        connection->body.used = 0;
}

void end_pattern(struct connection *connection, uint64_t offset, uint64_t length)
{
    end_head(connection, length);
    connection->offset = offset;
    connection->left = asks_head(connection) ? 0 : length;
}

void refuse(struct connection *connection, int status, struct slice code, struct slice message)
{
    struct buffer *body = &connection->body;
    start_reply(connection, status);
    ADD(body, "<Error><Code>");
    add(body, code);
    ADD(body, "</Code><HttpErrorCode>");
    add_number(body, (uint64_t)status);
    ADD(body, "</HttpErrorCode><Message>");
    add_xml(body, message);
    ADD(body, "</Message><Resource>");
    add_xml(body, connection->request.path);
    ADD(body, "</Resource><ResourceId>1</ResourceId></Error>");
    end_body(connection);
}

/* Send what is left of the reply: 1 when it is gone, 0 when the socket is full, -1 when the connection is. */
static int flush(struct connection *connection)
{
    struct buffer *head = &connection->head, *body = &connection->body;
    while (connection->sent < head->used + body->used) {
        struct iovec parts[3];
        struct msghdr message = {.msg_iov = parts};
        size_t sent = connection->sent, start = connection->offset % (objects.period + !objects.period);
        if (sent < head->used)
            parts[message.msg_iovlen++] = (struct iovec){head->at + sent, head->used - sent};
        size_t skipped = sent > head->used ? sent - head->used : 0;
        if (skipped < body->used)
            parts[message.msg_iovlen++] = (struct iovec){body->at + skipped, body->used - skipped};
        bool copies = connection->left <= MOST_COPIED && start + connection->left <= objects.period;
        if (copies && connection->left > 0)
            parts[message.msg_iovlen++] = (struct iovec){(char *)objects.pattern_bytes + start, connection->left};
        int more = connection->left > 0 && !copies ? MSG_MORE : 0;
        ssize_t count = sendmsg(connection->descriptor, &message, MSG_NOSIGNAL | more);
        if (count < 0)
            return errno == EAGAIN ? 0 : -1;
        size_t own = head->used + body->used - sent, taken = (size_t)count < own ? (size_t)count : own;
        connection->sent += taken;
        connection->offset += (size_t)count - taken;
        connection->left -= (size_t)count - taken;
    }
    while (connection->left > 0) {
        off_t start = (off_t)(connection->offset % objects.period);
        uint64_t some = objects.period - (uint64_t)start;
        some = some < connection->left ? some : connection->left;
        ssize_t count = sendfile(connection->descriptor, objects.pattern, &start, some);
        if (count <= 0)
            return count < 0 && errno == EAGAIN ? 0 : -1;
        connection->offset += (uint64_t)count;
        connection->left -= (uint64_t)count;
    }
    return 1;
}

/* -- requests -------------------------------------------------------------------------------------------------------- */

static bool is_called(struct slice line, const char *name, struct slice *value)
{
    size_t length = strlen(name);
    if (line.length <= length || line.at[length] != ':' || strncasecmp(line.at, name, length) != 0)
        return false;
    *value = after(line, length + 1);
    while (value->length > 0 && value->at[0] == ' ')
        *value = after(*value, 1);
    return true;
}

static bool take_header(struct request *request, struct slice line)
{
    struct slice value;
    switch (line.length > 0 ? line.at[0] | 0x20 : 0) { /* most lines are told by their first letter */
    case 'c':
        if (is_called(line, "Content-Length", &value))
            return as_number(value, &request->length);
        if (is_called(line, "Connection", &value))
            request->closes = value.length == 5 && strncasecmp(value.at, "close", 5) == 0;
        else if (is_called(line, "Content-MD5", &value) || is_called(line, "Content-CRC32", &value) ||
                 is_called(line, "Content-CRC32C", &value) || is_called(line, "Content-SHA256", &value) ||
                 is_called(line, "Content-SHA512", &value))
            request->checksum = line;
        break;
    case 'e':
        request->expects |= is_called(line, "Expect", &value);
        break;
    case 'r':
        if (is_called(line, "Range", &value))
            request->range = value;
        break;
    case 't':
        request->chunked |= is_called(line, "Transfer-Encoding", &value);
        break;
    }
    return true;
}

/* Parse the head of `length` bytes, without its empty line; false when it is none. */
static bool parse_head(struct request *request, const char *at, size_t length)
{
    *request = (struct request){0};
    const char *end = at + length, *line_end = memchr(at, '\r', length);
    line_end = line_end == NULL ? end : line_end;
    const char *space = memchr(at, ' ', (size_t)(line_end - at));
    const char *last = memrchr(at, ' ', (size_t)(line_end - at));
    if (space == NULL || last == space || space[1] != '/')
        return false;
    request->method = (struct slice){at, (size_t)(space - at)};
    request->path = (struct slice){space + 1, (size_t)(last - space - 1)};
    const char *mark = memchr(request->path.at, '?', request->path.length);
    if (mark != NULL) {
        request->query = (struct slice){mark + 1, (size_t)(last - mark - 1)};
        request->path.length = (size_t)(mark - request->path.at);
    }
    request->closes = line_end[-1] == '0'; /* HTTP/1.0 */
    while (line_end + 2 < end) {
        at = line_end + 2;
        line_end = memchr(at, '\r', (size_t)(end - at));
        line_end = line_end == NULL ? end : line_end;
        if (!take_header(request, (struct slice){at, (size_t)(line_end - at)}))
            return false;
    }
    return true;
}

static void finish(struct connection *connection);

/* The body is there: make the answer, and send it now or in time. */
static void finish_body(struct connection *connection)
{
    struct worker *worker = connection->worker;
    struct request *request = &connection->request;
    if (request->counts && request->length > 0)
        atomic_store_explicit(&worker->numbers.last, now(), memory_order_relaxed);
    answer(connection);
    free(request->body);
    request->body = NULL;
    if (!request->prompt)
        bump(&worker->numbers.requests, 1);
    if (request->counts)
        bump(request->method.at[0] == 'P' ? &worker->numbers.puts : &worker->numbers.gets, 1);
    connection->state = SENDING;
    if (settings.delay > 0 && !request->prompt) {
        connection->state = WAITING;
        connection->due = now() + settings.delay;
        connection->next = NULL;
        if (worker->last_waiting != NULL)
            worker->last_waiting->next = connection;
        else
            worker->first_waiting = connection;
        worker->last_waiting = connection;
    }
}

/* The head is in the input: say how its body is taken. */
static void begin_body(struct connection *connection, size_t head_length)
{
    struct request *request = &connection->request;
    if (!parse_head(request, connection->input, head_length - 4) || request->chunked ||
        (choose_body(request), request->keeps && request->length > LONGEST_KEPT)) {
        request->closes = true;
        refuse(connection, request->chunked ? 411 : 400, LITERAL("BadRequest"), LITERAL("this head is not taken"));
        connection->state = SENDING;
        return;
    }
    uint64_t there = connection->filled - head_length;
    there = there < request->length ? there : request->length;
    connection->taken = head_length + (size_t)there;
    connection->left = request->length - there;
    if (request->keeps) {
        request->body = claimed(malloc(request->length + 1));
        memcpy(request->body, connection->input + head_length, there);
        request->body[request->length] = '\0';
    } else if (request->counts && request->length > 0) {
        bump(&connection->worker->numbers.bytes_in, there);
        if (there > 0)
            note_first(&connection->worker->numbers);
    }
    connection->state = request->keeps ? KEEPING : DROPPING;
    pace(connection, connection->left);
    if (request->expects && connection->left > 0 &&
        send(connection->descriptor, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL) != 25)
        connection->gone = true;
}

/* Do all that needs no more input; afterwards the state says what is waited for. */
static void go_on(struct connection *connection)
{
    for (;;) {
        if (connection->state == READING) {
            char *end = memmem(connection->input, connection->filled, "\r\n\r\n", 4);
            if (end == NULL) {
                connection->gone |= connection->filled == HEAD_ROOM; /* a longer head than any client has */
                return;
            }
            begin_body(connection, (size_t)(end + 4 - connection->input));
        }
        if (connection->state == DROPPING || connection->state == KEEPING) {
            if (connection->left > 0)
                return;
            finish_body(connection);
        }
        if (connection->state != SENDING)
            return;
        finish(connection);
        if (connection->gone || connection->state != READING || connection->filled == 0)
            return;
    }
}

/* Send; when all is gone be ready for the next request. */
static void finish(struct connection *connection)
{
    struct numbers *numbers = &connection->worker->numbers;
    struct request *request = &connection->request;
    bool gives = request->counts && request->length == 0 && connection->left > 0;
    uint64_t before = connection->left;
    if (gives)
        note_first(numbers);
    int sent = flush(connection);
    if (gives) {
        bump(&numbers->bytes_out, before - connection->left);
        if (sent == 1)
            atomic_store_explicit(&numbers->last, now(), memory_order_relaxed);
    }
    if (sent == 0) {
        arm(connection, EPOLLOUT);
        return;
    }
    connection->gone |= sent < 0 || request->closes;
    if (connection->gone)
        return;
    if (connection->body.room > MOST_COPIED) {
        free(connection->body.at);
        connection->body = (struct buffer){0};
    }
    connection->filled -= connection->taken;
    memmove(connection->input, connection->input + connection->taken, connection->filled);
    connection->taken = 0;
    connection->state = READING;
    arm(connection, EPOLLIN);
}

/* -- the loop -------------------------------------------------------------------------------------------------------- */

static void take_input(struct connection *connection)
{
    struct request *request = &connection->request;
    ssize_t count;
    uint64_t some = connection->left < MOST_AT_ONCE ? connection->left : MOST_AT_ONCE;
    switch (connection->state) {
    case READING:
        count = recv(connection->descriptor, connection->input + connection->filled,
                     HEAD_ROOM - connection->filled, 0);
        connection->filled += count > 0 ? (size_t)count : 0;
        break;
    case DROPPING:
        count = recv(connection->descriptor, NULL, some, MSG_TRUNC);
        connection->left -= count > 0 ? (uint64_t)count : 0;
        pace(connection, connection->left);
        if (request->counts && count > 0) {
            note_first(&connection->worker->numbers);
            bump(&connection->worker->numbers.bytes_in, (uint64_t)count);
        }
        break;
    case KEEPING:
        count = recv(connection->descriptor, request->body + request->length - connection->left, some, 0);
        connection->left -= count > 0 ? (uint64_t)count : 0;
        pace(connection, connection->left);
        break;
    default: /* the next request, early, or its end: later */
        arm(connection, connection->state == SENDING ? EPOLLOUT : 0);
        return;
    }
    if (count > 0)
        go_on(connection);
    else
        connection->gone |= count == 0 || errno != EAGAIN;
}

static void on_event(struct connection *connection, uint32_t events)
{
    if (connection->state == WAITING) {
        if (events & (EPOLLERR | EPOLLHUP)) {
            epoll_ctl(connection->worker->epoll, EPOLL_CTL_DEL, connection->descriptor, NULL);
            connection->gone = true; /* it is dropped when its time has come */
            return;
        }
    } else if (connection->state == SENDING && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
        finish(connection);
        if (!connection->gone && connection->state == READING && connection->filled > 0)
            go_on(connection);
    } else {
        take_input(connection);
    }
    if (connection->gone && connection->state != WAITING)
        drop(connection);
}

static void send_what_is_due(struct worker *worker)
{
    double time = now();
    while (worker->first_waiting != NULL && worker->first_waiting->due <= time) {
        struct connection *connection = worker->first_waiting;
        worker->first_waiting = connection->next;
        if (worker->first_waiting == NULL)
            worker->last_waiting = NULL;
        connection->state = SENDING;
        if (!connection->gone) {
            if (connection->armed == 0) /* it was closed to input while it waited */
                arm(connection, EPOLLIN);
            go_on(connection);
        }
        if (connection->gone && connection->state != WAITING)
            drop(connection);
    }
}

static void welcome(int listener)
{
    int descriptor, yes = 1;
    while ((descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        struct connection *connection = claimed(calloc(1, sizeof *connection));
        connection->descriptor = descriptor;
        connection->worker = next_worker();
        connection->armed = EPOLLIN;
        connection->least = 1;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        if (epoll_ctl(connection->worker->epoll, EPOLL_CTL_ADD, descriptor, &event) < 0)
            drop(connection);
    }
}

void serve(struct worker *worker, int listener)
{
    struct epoll_event events[EVENTS];
    if (listener >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
        epoll_ctl(worker->epoll, EPOLL_CTL_ADD, listener, &event);
    }
    for (;;) {
        struct timespec wait = {0}, *most = NULL;
        if (worker->first_waiting != NULL) {
            double left = worker->first_waiting->due - now();
            if (left > 0) {
                wait.tv_sec = (time_t)left;
                wait.tv_nsec = (long)((left - (double)wait.tv_sec) * 1e9);
            }
            most = &wait;
        }
        int count = epoll_pwait2(worker->epoll, events, EVENTS, most, NULL);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                welcome(listener);
            else
                on_event(events[i].data.ptr, events[i].events);
        }
        if (worker->first_waiting != NULL)
            send_what_is_due(worker);
    }
}
