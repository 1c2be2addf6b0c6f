/*
 * A closed-loop load generator: every connection keeps a fixed number of requests
 * outstanding and sends the next one when an answer has come.  Native, so that
 * what is measured is the server; the same loop speaks to both systems:
 *
 *   understudy  to the primary: Hello, OpenSession, then Batches of puts
 *   redis       to the primary: SETs followed by WAIT 1 0, in the same write
 *
 *   loadgen --proto understudy|redis --host 127.0.0.1 --port 7401 [--connections 64]
 *       [--outstanding 1] [--batch 1] [--seconds 5] [--warmup 1] [--value-bytes 100]
 *       [--keys 100000]
 *
 * A request is one batch of --batch puts; --outstanding of them are on their way on
 * each connection (at most 64).  A latency is that of a request, from the moment it
 * is written to the moment its answer is read.  One line of JSON goes to stdout; the
 * exit code is 1 if there was any error, with the first one on stderr.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 64, IN_BYTES = 1 << 18, FINE_US = 100000, COARSE = 1000000 };
enum phase { OPENING, RUNNING, CLOSING, GONE };

struct connection {
    int fd, waits_to_write;
    enum phase phase;
    uint8_t id[16];
    uint64_t birth, next, lacking;      /* sequences; next is the first not yet sent */
    uint64_t sent_ns[WINDOW];           /* by sequence; 0: answered */
    unsigned oks;                       /* redis: +OK seen of the request being answered */
    uint8_t in[IN_BYTES], *out;
    size_t in_end, out_at, out_end;
};

static int redis, port, connections = 64, outstanding = 1, batch = 1, value_bytes = 100;
static long keys = 100000;
static double seconds = 5, warmup = 1;
static const char *host = "127.0.0.1";
static uint8_t *value, *right;          /* right: the one good answer to a batch */
static size_t right_bytes;
static uint64_t now, begin_ns, end_ns, ops, errors, worst_us, random_state = 88172645463325252u;
static uint64_t fine[FINE_US], coarse[COARSE]; /* latencies, in steps of 1 us and of 100 us */
static int epoll;

static uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(struct connection *c, const char *why) {
    if (!errors++) fprintf(stderr, "loadgen: %s\n", why);
    if (c && c->phase != GONE) { close(c->fd); c->phase = GONE; }
    if (!c) exit(2);
}

/* -- msgpack, as much as we need -------------------------------------------------- */

static uint8_t *put_big(uint8_t *p, uint64_t n, int bytes) {
    while (bytes--) *p++ = (uint8_t)(n >> (8 * bytes));
    return p;
}
static uint8_t *put_number(uint8_t *p, uint64_t n) {
    if (n < 128) { *p++ = (uint8_t)n; return p; }
    *p++ = 0xcf;
    return put_big(p, n, 8);
}
static uint8_t *put_bytes_header(uint8_t *p, size_t n) {
    int width = n < 256 ? 1 : n < 65536 ? 2 : 4;
    *p++ = (uint8_t)(width == 1 ? 0xc4 : width == 2 ? 0xc5 : 0xc6);
    return put_big(p, n, width);
}
static uint8_t *put_bytes(uint8_t *p, const void *bytes, size_t n) {
    p = put_bytes_header(p, n);
    memcpy(p, bytes, n);
    return p + n;
}
static uint8_t *put_array(uint8_t *p, unsigned n) {
    if (n < 16) { *p++ = (uint8_t)(0x90 | n); return p; }
    *p++ = 0xdc;
    return put_big(p, n, 2);
}
static uint64_t big(const uint8_t *p, int bytes) {
    uint64_t n = 0;
    while (bytes--) n = n << 8 | *p++;
    return n;
}
static const uint8_t *number(const uint8_t *p, uint64_t *n) {
    if (*p < 128) { *n = *p; return p + 1; }
    int width = 1 << (*p - 0xcc);       /* 0xcc..0xcf: 1, 2, 4, 8 bytes */
    if (*p < 0xcc || *p > 0xcf) { *n = UINT64_MAX; return p; }
    *n = big(p + 1, width);
    return p + 1 + width;
}
static const uint8_t *bytes(const uint8_t *p, size_t *n) {
    int width = 1 << (*p - 0xc4);
    if (*p < 0xc4 || *p > 0xc6) { *n = SIZE_MAX; return p; }
    *n = big(p + 1, width);
    return p + 1 + width;
}

/* -- requests ---------------------------------------------------------------------- */

static void next_key(char *key) {
    random_state ^= random_state << 13, random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    snprintf(key, sizeof(char[32]), "key:%012llu", (unsigned long long)(random_state % (uint64_t)keys));
}

static void ask(struct connection *c) {
    uint8_t *p = c->out + c->out_end, *frame = p;
    char key[32];
    if (redis) {
        for (int i = 0; i < batch; i++) {
            next_key(key);
            p += sprintf((char *)p, "*3\r\n$3\r\nSET\r\n$16\r\n%s\r\n$%d\r\n", key, value_bytes);
            memcpy(p, value, (size_t)value_bytes);
            p += value_bytes;
            *p++ = '\r', *p++ = '\n';
        }
        p += sprintf((char *)p, "*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$1\r\n0\r\n");
    } else {
        size_t header = value_bytes < 256 ? 2 : value_bytes < 65536 ? 3 : 5;
        size_t body = (batch < 16 ? 1 : 3) + (size_t)batch * (2 + 18 + header + (size_t)value_bytes);
        p = put_bytes(put_number(put_array(p + 4, 6), 32), c->id, 16);
        p = put_number(put_number(put_number(p, c->birth), c->next), c->lacking);
        p = put_array(put_bytes_header(p, body), (unsigned)batch);
        for (int i = 0; i < batch; i++) {
            next_key(key);
            p = put_bytes(put_number(put_array(p, 3), 1), key, 16);
            p = put_bytes(p, value, (size_t)value_bytes);
        }
        put_big(frame, (uint64_t)(p - frame - 4), 4);
    }
    c->out_end = (size_t)(p - c->out);
    c->sent_ns[c->next++ % WINDOW] = now;
}

static void say(struct connection *c, unsigned tag) { /* Hello and OpenSession, or CloseSession */
    uint8_t *p = c->out + c->out_end, *frame = p;
    if (tag == 30) {
        p = put_number(put_number(put_array(p + 4, 3), 1), 1);
        p = (uint8_t *)memcpy(p, "\xa5" "clerk", 6) + 6;
        put_big(frame, (uint64_t)(p - frame - 4), 4);
        frame = p;
    }
    p = put_bytes(put_number(put_array(p + 4, tag == 30 ? 2 : 3), tag), c->id, 16);
    if (tag != 30) p = put_number(p, c->birth);
    put_big(frame, (uint64_t)(p - frame - 4), 4);
    c->out_end = (size_t)(p - c->out);
}

static void flush(struct connection *c) {
    while (c->phase != GONE && c->out_at < c->out_end) {
        ssize_t n = write(c->fd, c->out + c->out_at, c->out_end - c->out_at);
        if (n < 0 && errno == EAGAIN) break;
        if (n <= 0) { fail(c, "the server closed the connection"); return; }
        c->out_at += (size_t)n;
    }
    int rest = c->out_at < c->out_end;
    if (!rest) c->out_at = c->out_end = 0;
    if (rest != c->waits_to_write && c->phase != GONE) {
        struct epoll_event e = {EPOLLIN | (rest ? EPOLLOUT : 0), {.ptr = c}};
        epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e);
        c->waits_to_write = rest;
    }
}

/* -- answers ------------------------------------------------------------------------- */

static void answered(struct connection *c, uint64_t sequence) {
    uint64_t *sent = &c->sent_ns[sequence % WINDOW];
    if (sequence < c->lacking || sequence >= c->next || !*sent) { fail(c, "an answer to nothing"); return; }
    if (now >= begin_ns && now < end_ns) {
        uint64_t us = (now - *sent) / 1000;
        if (us < FINE_US) fine[us]++; else coarse[us / 100 < COARSE ? us / 100 : COARSE - 1]++;
        if (us > worst_us) worst_us = us;
        ops += (uint64_t)batch;
    }
    *sent = 0;
    while (c->lacking < c->next && !c->sent_ns[c->lacking % WINDOW]) c->lacking++;
    /* A gap in the window ends it: no request may be 64 past the first without an answer. */
    if (now < end_ns)
        while (c->next - c->lacking < (uint64_t)outstanding) ask(c);
    else if (c->lacking == c->next && redis) { close(c->fd); c->phase = GONE; }
    else if (c->lacking == c->next) { c->phase = CLOSING; say(c, 31); }
}

static void start(struct connection *c) {
    c->phase = RUNNING;
    c->next = c->lacking = 1;
    while (c->next - c->lacking < (uint64_t)outstanding) ask(c);
}

static void heard(struct connection *c, const uint8_t *p, size_t length) { /* one frame */
    uint64_t tag, n;
    size_t size;
    char text[256];
    const uint8_t *end = p + length;
    p = number(p + 1, &tag);
    if (tag == 1) return;                                      /* Hello */
    if (tag == 33 && c->phase == OPENING) {                    /* SessionOpened */
        number(p + 18, &c->birth);
        start(c);
    } else if (tag == 34 && c->phase == CLOSING) {             /* SessionClosed */
        close(c->fd);
        c->phase = GONE;
    } else if (tag == 35) {                                    /* BatchAnswer */
        p = bytes(number(p, &n), &size);
        if (size != right_bytes || p + size != end || memcmp(p, right, size)) fail(c, "a put was not done");
        else answered(c, n);
    } else if (tag == 24) fail(c, "this server is not the primary (NotYours)");
    else {
        snprintf(text, sizeof text, "refused, message %llu: %.*s", (unsigned long long)tag, (int)(end - p), p);
        for (char *t = text; *t; t++) if (*t < ' ' || *t > '~') *t = ' ';
        fail(c, text);
    }
}

static size_t parse(struct connection *c) { /* -> how many bytes of c->in are done with */
    size_t at = 0;
    while (c->phase != GONE) {
        size_t have = c->in_end - at;
        uint8_t *p = c->in + at;
        if (!redis) {
            size_t length = have < 4 ? 0 : big(p, 4);
            if (have < 4 || have < 4 + length) break;
            heard(c, p + 4, length);
            at += 4 + length;
            continue;
        }
        uint8_t *line_end = memchr(p, '\n', have);
        if (!line_end) break;
        at += (size_t)(line_end + 1 - p);
        if (*p == '+') c->oks++;
        else if (*p != ':' || p[1] == '0' || c->oks != (unsigned)batch) fail(c, "redis: no +OK, or no replica (WAIT said 0)");
        else { c->oks = 0; answered(c, c->lacking); }
    }
    return at;
}

static void readable(struct connection *c) {
    ssize_t n = read(c->fd, c->in + c->in_end, IN_BYTES - c->in_end);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) { fail(c, "the server closed the connection"); return; }
    now = clock_ns();
    c->in_end += (size_t)n;
    size_t done = parse(c);
    memmove(c->in, c->in + done, c->in_end -= done);
    if (c->phase != GONE) flush(c);
}

static struct connection *dial(void) {
    struct connection *c = calloc(1, sizeof *c);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    c->out = malloc((size_t)outstanding * ((size_t)batch * (96 + (size_t)value_bytes) + 128) + 4096);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) fail(NULL, "--host wants an IPv4 address");
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) fail(NULL, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (getrandom(c->id, 16, 0) != 16) fail(NULL, "no random bytes");
    struct epoll_event e = {EPOLLIN, {.ptr = c}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
    return c;
}

static uint64_t percentile(double share) {
    uint64_t all = 0, seen = 0;
    for (int i = 0; i < FINE_US; i++) all += fine[i];
    for (int i = 0; i < COARSE; i++) all += coarse[i];
    for (uint64_t i = 0; i < FINE_US; i++)
        if ((seen += fine[i]) && (double)seen >= share * (double)all) return i;
    for (uint64_t i = 0; i < COARSE; i++)
        if ((seen += coarse[i]) && (double)seen >= share * (double)all) return i * 100;
    return 0;
}

static double option(const char *text, const char *name, double low, double high) {
    char *end;
    double n = strtod(text, &end);
    if (*end || end == text || !(n >= low && n <= high)) {
        fprintf(stderr, "loadgen: --%s must be %g..%g, not %s\n", name, low, high, text);
        exit(2);
    }
    return n;
}

int main(int argc, char **argv) {
    static const struct option names[] = {
        {"proto", 1, 0, 'r'}, {"host", 1, 0, 'h'}, {"port", 1, 0, 'p'}, {"connections", 1, 0, 'c'},
        {"outstanding", 1, 0, 'o'}, {"batch", 1, 0, 'b'}, {"seconds", 1, 0, 's'}, {"warmup", 1, 0, 'w'},
        {"value-bytes", 1, 0, 'v'}, {"keys", 1, 0, 'k'}, {0, 0, 0, 0}};
    int which, index;
    while ((which = getopt_long(argc, argv, "", names, &index)) != -1) {
        const char *name = which == '?' ? "" : names[index].name;
        if (which == 'r' && (!strcmp(optarg, "redis") || !strcmp(optarg, "understudy"))) redis = *optarg == 'r';
        else if (which == 'h') host = optarg;
        else if (which == 'p') port = (int)option(optarg, name, 1, 65535);
        else if (which == 'c') connections = (int)option(optarg, name, 1, 10000);
        else if (which == 'o') outstanding = (int)option(optarg, name, 1, WINDOW);
        else if (which == 'b') batch = (int)option(optarg, name, 1, 16384);
        else if (which == 's') seconds = option(optarg, name, 0.01, 86400);
        else if (which == 'w') warmup = option(optarg, name, 0, 86400);
        else if (which == 'v') value_bytes = (int)option(optarg, name, 0, 8 << 20);
        else if (which == 'k') keys = (long)option(optarg, name, 1, 1e12);
        else { fprintf(stderr, "loadgen: read the head of bench/loadgen.c for what it takes\n"); return 2; }
    }
    if (!port) { fprintf(stderr, "loadgen: --port of the primary is needed\n"); return 2; }

    value = memset(malloc((size_t)value_bytes + 1), 'v', (size_t)value_bytes + 1);
    right = malloc(3 * (size_t)batch + 3);
    uint8_t *p = put_array(right, (unsigned)batch);
    for (int i = 0; i < batch; i++) p = put_big(p, 0x9200c0, 3);   /* [0, nil]: done */
    right_bytes = (size_t)(p - right);

    epoll = epoll_create1(0);
    struct connection **all = calloc((size_t)connections, sizeof *all);
    for (int i = 0; i < connections; i++) all[i] = dial();
    now = clock_ns();
    begin_ns = now + (uint64_t)(warmup * 1e9);
    end_ns = begin_ns + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < connections; i++) {
        if (redis) start(all[i]); else say(all[i], 30);
        flush(all[i]);
    }
    for (;;) {
        struct epoll_event events[256];
        int live = 0, n;
        for (int i = 0; i < connections && !live; i++) live = all[i]->phase != GONE;
        if (!live) break;
        n = epoll_wait(epoll, events, 256, 200);
        if (clock_ns() > end_ns + 5000000000u) { fail(all[0], "no answer within 5 s of the end"); break; }
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->phase != GONE && events[i].events & EPOLLOUT) flush(c);
            if (c->phase != GONE && events[i].events & ~(uint32_t)EPOLLOUT) readable(c);
        }
    }
    printf("{\"proto\": \"%s\", \"connections\": %d, \"outstanding\": %d, \"batch\": %d, \"value_bytes\": %d, "
           "\"ops\": %llu, \"seconds\": %.3f, \"ops_per_s\": %.0f, \"p50_us\": %llu, \"p99_us\": %llu, "
           "\"p999_us\": %llu, \"max_us\": %llu, \"errors\": %llu}\n",
           redis ? "redis" : "understudy", connections, outstanding, batch, value_bytes,
           (unsigned long long)ops, seconds, (double)ops / seconds, (unsigned long long)percentile(0.5),
           (unsigned long long)percentile(0.99), (unsigned long long)percentile(0.999),
           (unsigned long long)worst_us, (unsigned long long)errors);
    return errors != 0;
}
