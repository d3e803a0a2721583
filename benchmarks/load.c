/* The load generator of the benchmarks: one thread, one epoll, one clock. Loopback only, and it ends by itself.
 *
 * Subscribers speak WebSocket (ws://) or lines of text (tcp://: NATS), publishers HTTP (http://) or lines. A message carries
 * "c" its publisher, "n" its number there (1, 2, 3 ...), "t" when it was sent (ns of our clock). A publisher sends the next
 * after the answer to the last. So each subscriber must see each publisher's numbers as 1, 2, 3 ...; and where the server
 * numbers messages itself (--id-key), those without a hole.
 *
 * It prints a line of JSON when all have joined, when all is published, and with the result. Latency is from sending (with
 * --rate: from when it was due) to a subscriber's receipt.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "measure.h"

enum { MAX_HEADERS = 16, MAX_PORTS = 8, MAX_PUBLISHERS = 512, OPENING_AT_ONCE = 64, READ_SIZE = 1 << 20, MAX_BODY = 1 << 17 };

typedef enum { HTTP, WEBSOCKET, LINES } Kind;
typedef enum { NEW, CONNECTING, HANDSHAKE, JOINING, OPEN, CLOSED } State;

typedef struct {
    Kind kind;
    int ports[MAX_PORTS], port_count; /* of several servers: connections go to them in turn */
    const char *path;
    const char *headers[MAX_HEADERS];
    int header_count;
    const char *hello; /* sent as soon as the connection stands; "" for nothing */
    const char *awaited; /* a subscriber has joined when it got this; "": at once. A publisher: the answer to a message */
} Side;

typedef struct {
    Side *side;
    State state;
    int fd, index;
    bool resting;                    /* a subscriber that does not read while there is publishing */
    bool waits_to_write;
    char *in, *out;                  /* what is there of an unfinished frame; what the kernel has not taken */
    size_t in_used, out_used, out_sent, out_size;
    bool busy;                       /* a publisher whose message has no answer yet */
    uint64_t sent_at, published;     /* publisher */
    uint64_t received, taken, last_id; /* subscriber: messages that were new, all of them, the newest's number */
    uint32_t *last_n;                /* subscriber: by publisher */
} Connection;

typedef struct { uint64_t id, publisher, n, stamp; } Parsed; /* a message; id: what the server calls it, 0 where nobody asked */

static Side subscribe = {.hello = "", .awaited = "", .path = "/"}, publish = {.hello = "", .awaited = "", .path = "/"};
static int subscribers, publishers, stalled, window, most_messages, expected; /* 0: without such a limit */
static double seconds = 5, rate, idle = 5, hold, limit = 120;
static int payload_size = 120;
static const char *method = "POST", *template = "%P", *id_key = "";

static Connection *connections;
static int poller, opened, joined, failed, closed_early;
static uint64_t published, answered, received, missing, repeated, skipped, holes, bad_answers, read_at, last_receipt;
static Histogram latency, answer_time;
static char buffer[READ_SIZE], padding[MAX_BODY];

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* Writing */

static void close_connection(Connection *c) {
    if (c->state == CLOSED) return;
    if (c->state == OPEN) closed_early++;
    else failed++;
    c->state = CLOSED;
    close(c->fd);
}

static void watch(Connection *c, int operation) {
    bool wants_input = !(c->resting && c->state == OPEN);
    c->waits_to_write = c->state == CONNECTING || c->out_used > c->out_sent;
    struct epoll_event event = {.events = (wants_input ? EPOLLIN : 0u) | (c->waits_to_write ? EPOLLOUT : 0u), .data.ptr = c};
    if (epoll_ctl(poller, operation, c->fd, &event)) die("epoll_ctl");
}

static void flush_out(Connection *c) {
    while (c->out_sent < c->out_used) {
        ssize_t n = send(c->fd, c->out + c->out_sent, c->out_used - c->out_sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) watch(c, EPOLL_CTL_MOD);
            else close_connection(c);
            return;
        }
        c->out_sent += (size_t)n;
    }
    c->out_used = c->out_sent = 0;
    if (c->waits_to_write) watch(c, EPOLL_CTL_MOD);
}

static void append(Connection *c, const void *data, size_t size) {
    if (c->out_used + size > c->out_size) {
        c->out = realloc(c->out, c->out_size = (c->out_used + size) * 2);
        if (!c->out) die("memory");
    }
    memcpy(c->out + c->out_used, data, size);
    c->out_used += size;
}

static void append_text(Connection *c, const char *text) { append(c, text, strlen(text)); }

static void append_headers(Connection *c) {
    for (int i = 0; i < c->side->header_count; i++) {
        append_text(c, c->side->headers[i]);
        append_text(c, "\r\n");
    }
    append_text(c, "\r\n");
}

/* A frame of a client is masked; with a mask of zeros, which changes nothing. At most 125 bytes. */
static void append_frame(Connection *c, int opcode, const char *data, size_t size) {
    unsigned char head[6] = {(unsigned char)(0x80 | opcode), (unsigned char)(0x80 | size)};
    append(c, head, sizeof head);
    append(c, data, size);
}

static int port_of(const Connection *c) { return c->side->ports[c->index % c->side->port_count]; }

static void start_connection(Connection *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (c->resting) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &(int){65536}, sizeof(int));
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port_of(c)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->state = CONNECTING;
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) close_connection(c);
    else watch(c, EPOLL_CTL_ADD);
}

static void has_joined(Connection *c) {
    c->state = OPEN;
    joined++;
    if (c->resting) watch(c, EPOLL_CTL_MOD);
}

static void has_opened(Connection *c) {
    char hello[1024];
    size_t size = expand(hello, c->side->hello, c->index, "", 0);
    if (c->side->kind == WEBSOCKET && size) append_frame(c, 1, hello, size);
    else append(c, hello, size);
    flush_out(c);
    c->state = JOINING;
    if (c->side != &subscribe || !*c->side->awaited) has_joined(c);
}

static void ask_for_upgrade(Connection *c) {
    char request[1024];
    snprintf(request, sizeof request,
             "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
             c->side->path, port_of(c));
    append_text(c, request);
    append_headers(c);
    flush_out(c);
}

static void has_connected(Connection *c) {
    int error = 0;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
    if (error) {
        close_connection(c);
        return;
    }
    c->state = HANDSHAKE;
    watch(c, EPOLL_CTL_MOD);
    if (c->side->kind == WEBSOCKET) ask_for_upgrade(c);
    else has_opened(c);
}

/* Publishing */

static size_t write_body(char *body, Connection *c, uint64_t stamp) {
    static char payload[MAX_BODY];
    int size = snprintf(payload, sizeof payload, "{\"c\":%d,\"n\":%llu,\"t\":%llu,\"p\":\"", c->index,
                        (unsigned long long)c->published, (unsigned long long)stamp);
    int pad = payload_size - size - 2 > 0 ? payload_size - size - 2 : 0;
    size += sprintf(payload + size, "%.*s\"}", pad, padding);
    return expand(body, template, c->index, payload, size);
}

static void publish_one(Connection *c, uint64_t stamp) {
    static char body[MAX_BODY * 2], line[256];
    c->published++;
    published++;
    size_t size = strcmp(method, "GET") ? write_body(body, c, stamp) : 0;
    if (c->side->kind == HTTP) {
        snprintf(line, sizeof line, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %zu\r\n", method, c->side->path,
                 port_of(c), size);
        append_text(c, line);
        append_headers(c);
    }
    append(c, body, size);
    c->busy = true;
    c->sent_at = stamp;
    flush_out(c);
}

static void has_answer(Connection *c) {
    if (!c->busy) return; /* NATS greets with lines of its own */
    c->busy = false;
    answered++;
    record(&answer_time, now() - c->sent_at);
}

/* Reading: each takes one whole unit from the front and returns its size; 0 when it is not whole yet. */

static bool parse(const char *text, size_t size, Parsed *found) {
    const char *at = text, *end = text + size;
    found->id = 0;
    if (*id_key) number_after(&at, end, id_key, &found->id);
    return number_after(&at, end, "\"c\":", &found->publisher) && number_after(&at, end, "\"n\":", &found->n) &&
           number_after(&at, end, "\"t\":", &found->stamp) && found->publisher < MAX_PUBLISHERS;
}

/* All subscribers get the same texts in the same order: the first to get one has it parsed, the others compare. */
static const Parsed *parse_once(Connection *c, const char *text, size_t size) {
    static struct { uint64_t number; size_t size; char text[1024]; Parsed found; } known[1024];
    static Parsed other;
    uint64_t number = ++c->taken;
    size_t place = number % (sizeof known / sizeof *known);
    if (known[place].number == number && known[place].size == size && !memcmp(known[place].text, text, size))
        return &known[place].found;
    if (!parse(text, size, &other)) return NULL;
    if (known[place].number < number && size <= sizeof known->text) {
        known[place].number = number;
        known[place].size = size;
        memcpy(known[place].text, text, size);
        known[place].found = other;
    }
    return &other;
}

static void take_message(Connection *c, const char *text, size_t size) {
    const Parsed *message = parse_once(c, text, size);
    if (!message) return;
    last_receipt = read_at;
    if (message->id) {
        if (c->last_id && message->id != c->last_id + 1) holes++;
        c->last_id = message->id;
    }
    uint32_t *last_n = &c->last_n[message->publisher];
    if (message->n <= *last_n) repeated++;
    else {
        skipped += message->n - *last_n - 1;
        *last_n = (uint32_t)message->n;
        c->received++;
        received++;
    }
    if (c->index >= stalled && publishers) record(&latency, last_receipt - message->stamp);
}

static void take_text(Connection *c, const char *text, size_t size) {
    if (c->side == &publish) {
        if (memmem(text, size, c->side->awaited, strlen(c->side->awaited))) has_answer(c);
    } else if (c->state == JOINING) {
        if (memmem(text, size, c->side->awaited, strlen(c->side->awaited))) has_joined(c);
    } else take_message(c, text, size);
}

static size_t take_frame(Connection *c, char *data, size_t size) {
    const unsigned char *head = (unsigned char *)data;
    if (size < 2) return 0;
    size_t start = 2, length = head[1] & 127;
    if (length >= 126) {
        size_t digits = length == 126 ? 2 : 8;
        if (size < 2 + digits) return 0;
        for (length = 0; start < 2 + digits; start++) length = length << 8 | head[start];
    }
    if (size < start + length) return 0;
    int opcode = head[0] & 15;
    if (opcode == 8) close_connection(c);
    else if (opcode == 9) {
        append_frame(c, 10, data + start, length);
        flush_out(c);
    } else take_text(c, data + start, length);
    return start + length;
}

static size_t take_line(Connection *c, char *data, size_t size) {
    char *end = memchr(data, '\n', size);
    if (!end) return 0;
    take_text(c, data, (size_t)(end - data));
    return (size_t)(end - data) + 1;
}

static size_t take_handshake(Connection *c, char *data, size_t size) {
    char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end) return 0;
    if (size > 12 && !memcmp(data + 9, "101", 3)) has_opened(c);
    else close_connection(c);
    return (size_t)(end - data) + 4;
}

static size_t take_response(Connection *c, char *data, size_t size) {
    char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end) return 0;
    *end = 0; /* the headers are a string now; put back if the body is not there yet */
    const char *length = strcasestr(data, "content-length:");
    size_t whole = (size_t)(end - data) + 4 + (length ? strtoul(length + 15, NULL, 10) : 0);
    *end = '\r';
    if (size < whole) return 0;
    if ((data[9] != '2' || !length) && !bad_answers++) fprintf(stderr, "load: an answer: %.300s\n", data);
    has_answer(c);
    return whole;
}

static void read_some(Connection *c) {
    if (c->in_used) memcpy(buffer, c->in, c->in_used);
    ssize_t n = recv(c->fd, buffer + c->in_used, sizeof buffer - c->in_used - 1, 0);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) close_connection(c);
        return;
    }
    size_t have = c->in_used + (size_t)n, done = 0, taken = 1;
    buffer[have] = 0;
    if (c->side == &subscribe) read_at = now();
    while (taken && done < have && c->state != CLOSED) {
        Kind kind = c->side->kind;
        char *data = buffer + done;
        size_t left = have - done;
        taken = c->state == HANDSHAKE ? take_handshake(c, data, left)
                : kind == WEBSOCKET   ? take_frame(c, data, left)
                : kind == LINES       ? take_line(c, data, left)
                                      : take_response(c, data, left);
        done += taken;
    }
    c->in_used = have - done;
    free(c->in);
    c->in = c->in_used ? malloc(c->in_used) : NULL;
    if (c->in) memcpy(c->in, buffer + done, c->in_used);
    else if (c->in_used) die("memory");
}

static void handle_events(int wait_ms) {
    struct epoll_event events[512];
    int count = epoll_wait(poller, events, 512, wait_ms);
    for (int i = 0; i < count; i++) {
        Connection *c = events[i].data.ptr;
        if (c->state == CLOSED) continue;
        if (c->state == CONNECTING) has_connected(c);
        else if (events[i].events & EPOLLOUT) flush_out(c);
        else read_some(c);
    }
}

/* The phases of a run */

static void open_all(uint64_t deadline) {
    int total = subscribers + publishers;
    while (joined + failed + closed_early < total) {
        while (opened < total && opened - joined - failed < OPENING_AT_ONCE) start_connection(&connections[opened++]);
        handle_events(10);
        if (now() > deadline) die("not all connections could join in time");
    }
}

static uint64_t in_flight(void) {
    int reading = subscribers - stalled;
    return reading > 0 ? published - received / (uint64_t)reading : 0;
}

static void publish_for(uint64_t start) {
    uint64_t end = start + (uint64_t)(seconds * 1e9), due = start;
    Connection *first = connections + subscribers;
    for (int turn = 0; now() < end && (!most_messages || published < (uint64_t)most_messages);) {
        int busy_ones = 0;
        while (busy_ones < publishers && (!most_messages || published < (uint64_t)most_messages)) {
            if ((rate > 0 && due > now()) || (window && in_flight() >= (uint64_t)window)) break;
            Connection *c = first + turn++ % publishers;
            if (c->busy || c->state != OPEN) {
                busy_ones++;
                continue;
            }
            publish_one(c, rate > 0 ? due : now());
            busy_ones = 0;
            if (rate > 0) due += (uint64_t)(1e9 / rate);
        }
        uint64_t pause = rate > 0 && due > now() ? (due - now()) / 1000000 : 10;
        handle_events(pause > 10 ? 10 : (int)pause);
        if (closed_early >= publishers && publishers) die("the connections were closed");
    }
    while (answered < published && now() < end + 10000000000ull) handle_events(10);
}

/* Until everything has arrived, or nothing more comes. */
static void wait_for_deliveries(uint64_t wanted) {
    for (uint64_t since = now(); received < wanted; handle_events(10)) {
        uint64_t last = last_receipt > since ? last_receipt : since;
        if (now() - last > (uint64_t)(idle * 1e9)) return;
    }
    for (uint64_t end = now() + 100000000; publishers && now() < end;) handle_events(10); /* would show repeats */
}

static void wake_stalled(void) {
    for (Connection *c = connections; c < connections + stalled; c++) {
        c->resting = false;
        if (c->state != CLOSED) watch(c, EPOLL_CTL_MOD);
    }
}

static void refuse(const char *what) {
    fprintf(stderr, "load: %s: not understood\n", what);
    exit(2);
}

static void parse_url(Side *side, const char *url) {
    char host[32];
    int used = 0;
    side->kind = !strncmp(url, "ws:", 3) ? WEBSOCKET : !strncmp(url, "tcp:", 4) ? LINES : HTTP;
    int *port = &side->ports[side->port_count++];
    if (sscanf(url, "%*[a-z]://%31[0-9.]:%d%n", host, port, &used) < 2 || strcmp(host, "127.0.0.1")) refuse(url);
    if (side->port_count == MAX_PORTS) refuse(url);
    if (url[used]) side->path = url + used;
}

static void add_header(Side *side, const char *text) {
    if (side->header_count < MAX_HEADERS) side->headers[side->header_count++] = text;
}

static void parse_options(int count, char **values) {
    const struct { const char *name; int *whole; double *real; const char **text; } options[] = {
        {.name = "--subscribers", .whole = &subscribers}, {.name = "--publishers", .whole = &publishers},
        {.name = "--stalled", .whole = &stalled}, {.name = "--window", .whole = &window},
        {.name = "--size", .whole = &payload_size}, {.name = "--messages", .whole = &most_messages}, {.name = "--expect", .whole = &expected},
        {.name = "--seconds", .real = &seconds}, {.name = "--rate", .real = &rate}, {.name = "--idle", .real = &idle},
        {.name = "--hold", .real = &hold}, {.name = "--limit", .real = &limit},
        {.name = "--method", .text = &method}, {.name = "--template", .text = &template}, {.name = "--id-key", .text = &id_key},
        {.name = "--subscribe-hello", .text = &subscribe.hello}, {.name = "--publish-hello", .text = &publish.hello},
        {.name = "--joined", .text = &subscribe.awaited}, {.name = "--answer", .text = &publish.awaited}};
    const size_t option_count = sizeof options / sizeof *options;
    for (int i = 1; i + 1 < count; i += 2) {
        const char *name = values[i], *value = values[i + 1];
        size_t k = 0;
        while (k < option_count && strcmp(name, options[k].name)) k++;
        if (k < option_count && options[k].whole) *options[k].whole = atoi(value);
        else if (k < option_count && options[k].real) *options[k].real = atof(value);
        else if (k < option_count) *options[k].text = value;
        else if (!strcmp(name, "--subscribe")) parse_url(&subscribe, value);
        else if (!strcmp(name, "--publish")) parse_url(&publish, value);
        else if (!strcmp(name, "--subscribe-header")) add_header(&subscribe, value);
        else if (!strcmp(name, "--publish-header")) add_header(&publish, value);
        else refuse(name);
    }
    if (count % 2 == 0) refuse("an option without a value");
    if (publishers > MAX_PUBLISHERS) refuse("--publishers");
    if (payload_size > MAX_BODY / 2) refuse("--size");
}

static void prepare(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    alarm((unsigned)limit + 1); /* whatever happens */
    memset(padding, 'x', sizeof padding);
    poller = epoll_create1(0);
    connections = calloc((size_t)(subscribers + publishers) + 1, sizeof *connections);
    int seen = publishers ? publishers : MAX_PUBLISHERS;
    for (int i = 0; i < subscribers + publishers; i++) {
        bool is_publisher = i >= subscribers;
        connections[i].side = is_publisher ? &publish : &subscribe;
        connections[i].index = is_publisher ? i - subscribers : i;
        connections[i].resting = i < stalled;
        if (!is_publisher) connections[i].last_n = calloc(seen > 1 ? MAX_PUBLISHERS : 1, sizeof(uint32_t));
    }
}

static void report(double joining, double publishing, double delivering, double cpu, double lasted) {
    printf("{\"event\":\"result\",\"joined\":%d,\"failed\":%d,\"closed\":%d,\"joining_s\":%.4f,\"published\":%llu,"
           "\"answered\":%llu,\"publishing_s\":%.4f,\"received\":%llu,\"delivering_s\":%.6f,\"missing\":%llu,\"repeated\":%llu,"
           "\"skipped\":%llu,\"holes\":%llu,\"bad_answers\":%llu,\"latency_p50_ms\":%.3f,\"latency_p99_ms\":%.3f,"
           "\"latency_max_ms\":%.3f,\"answer_p50_ms\":%.3f,\"answer_p99_ms\":%.3f,\"generator_cpu\":%.3f}\n",
           joined, failed, closed_early, joining, (unsigned long long)published, (unsigned long long)answered, publishing,
           (unsigned long long)received, delivering, (unsigned long long)missing, (unsigned long long)repeated,
           (unsigned long long)skipped, (unsigned long long)holes, (unsigned long long)bad_answers,
           percentile_ms(&latency, .5), percentile_ms(&latency, .99), (double)latency.highest / 1e6,
           percentile_ms(&answer_time, .5), percentile_ms(&answer_time, .99), lasted > 0 ? cpu / lasted : 0);
}

int main(int count, char **values) {
    parse_options(count, values);
    prepare();
    setvbuf(stdout, NULL, _IOLBF, 0);
    uint64_t begin = now();
    double cpu = cpu_seconds();
    open_all(begin + (uint64_t)(limit * 1e9));
    double joining = (double)(now() - begin) / 1e9;
    printf("{\"event\":\"ready\",\"joined\":%d,\"failed\":%d,\"seconds\":%.4f}\n", joined, failed, joining);
    for (uint64_t end = now() + (uint64_t)(hold * 1e9); now() < end;) handle_events(10);
    uint64_t start = expected ? begin : now();
    if (!expected) cpu = cpu_seconds();
    if (publishers) publish_for(start);
    double publishing = (double)(now() - start) / 1e9;
    uint64_t wanted = (publishers ? published : (uint64_t)expected) * (uint64_t)subscribers;
    if (publishers) wait_for_deliveries(published * (uint64_t)(subscribers - stalled));
    printf("{\"event\":\"published\"}\n");
    if (stalled) wake_stalled();
    wait_for_deliveries(wanted);
    missing = wanted > received ? wanted - received : 0;
    double delivering = last_receipt > start ? (double)(last_receipt - start) / 1e9 : 0;
    report(joining, publishing, delivering, cpu_seconds() - cpu, (double)(now() - start) / 1e9);
    return 0;
}
