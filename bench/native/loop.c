/*
 * A closed-loop load generator: every connection keeps a fixed number of requests
 * outstanding and sends the next one when an answer has come.  Native, so that
 * what is measured is the server; the same loop speaks to every system:
 *
 *   understudy  to the primary: our frames, a session each, batches of puts and queries of gets
 *   redis       to the primary: SETs followed by WAIT 1 0, in the same write; GETs
 *   etcd        to the leader: gRPC, Put and linearizable Range
 *   zookeeper   to the leader: a session each, setData and getData
 *
 *   loadgen --proto understudy|redis|etcd|zookeeper --port 7401 [--host 127.0.0.1]
 *       [--connections 64] [--outstanding 1] [--batch 1] [--reads 0] [--seconds 5] [--warmup 1]
 *       [--value-bytes 100] [--keys 100000] [--fill 0]
 *
 * A request is --batch commands (etcd, zookeeper: one), --reads percent of the requests
 * read; --outstanding of them are on their way on each connection (at most 64).  The
 * load begins when every connection is open.  With --fill 1 every key is written once,
 * and that is all; what is read must have been written so, with the same --keys and
 * --value-bytes.  A latency is that of a request, from the moment it is written to the
 * moment its answer is read.  One line of JSON goes to stdout; the exit code is 1 if
 * there was any error, with the first one on stderr.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "load.h"

enum { FINE_US = 100000, COARSE = 1000000, IN_BYTES_MIN = 1 << 14 };
static const uint64_t STALLED_NS = 10000000000u;

int batch = 1, value_bytes = 100, filling;
uint8_t *value;

static const struct protocol *const protocols[] = {&understudy, &redis, &etcd, &zookeeper};
static const struct protocol *protocol;
static int port, connections = 64, outstanding = 1, reads, opening;
static long keys = 100000, filled;
static double seconds = 5, warmup = 1;
static const char *host = "127.0.0.1";
static struct connection **all;
static uint64_t now, heard_ns, begin_ns, end_ns, ops, ops_all, errors, worst_us, random_state = 88172645463325252u;
static uint64_t fine[FINE_US], coarse[COARSE]; /* latencies, in steps of 1 us and of 100 us */
static int epoll;

static uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t draw(void) {
    random_state ^= random_state << 13, random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

void next_key(char key[KEY_BYTES + 1]) {
    uint64_t n = filling ? (uint64_t)filled++ : draw();
    snprintf(key, KEY_BYTES + 1, "key:%012llu", (unsigned long long)(n % (uint64_t)keys % 1000000000000u));
}

/* -- what is written -------------------------------------------------------------- */

uint8_t *room(struct connection *c, size_t bytes) {
    if (c->out_room - c->out_end < bytes) {
        memmove(c->out, c->out + c->out_at, c->out_end -= c->out_at);
        c->out_at = 0;
        if (c->out_room - c->out_end < bytes)
            c->out = realloc(c->out, c->out_room = 2 * (c->out_end + bytes));
    }
    return c->out + c->out_end;
}

void said(struct connection *c, uint8_t *end) { c->out_end = (size_t)(end - c->out); }

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

/* -- the loop of one connection --------------------------------------------------- */

static void keep_asking(struct connection *c) {
    for (int i = 0; i < outstanding && (filling ? filled < keys : now < end_ns); i++) {
        struct slot *s = &c->slots[i];
        if (s->sent_ns) continue;
        s->sent_ns = now;
        s->reads = reads && draw() % 100 < (uint64_t)reads;
        c->flying++;
        protocol->ask(c, s);
    }
    if (c->flying || c->phase != RUNNING) return;
    c->phase = LEAVING;
    protocol->leave(c);
}

static void opened(void) { /* or failed to */
    if (--opening) return;
    now = heard_ns = clock_ns();
    begin_ns = filling ? now : now + (uint64_t)(warmup * 1e9);
    end_ns = filling ? UINT64_MAX : begin_ns + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < connections; i++) {
        if (all[i]->phase != READY) continue;
        all[i]->phase = RUNNING;
        keep_asking(all[i]);
        flush(all[i]);
    }
}

void ready(struct connection *c) {
    c->phase = READY;
    opened();
}

void hang_up(struct connection *c) {
    int was_opening = c->phase == OPENING;
    if (c->phase == GONE) return;
    close(c->fd);
    c->phase = GONE;
    if (was_opening) opened();
}

void fail(struct connection *c, const char *why) {
    if (!errors++) fprintf(stderr, "loadgen: %s\n", why);
    if (!c) exit(2);
    hang_up(c);
}

struct slot *slot_of(struct connection *c, uint64_t tag) {
    for (int i = 0; i < outstanding; i++)
        if (c->slots[i].sent_ns && c->slots[i].tag == tag) return &c->slots[i];
    return NULL;
}

void answered(struct connection *c, uint64_t tag) {
    struct slot *s = slot_of(c, tag);
    if (!s) { fail(c, "an answer to nothing"); return; }
    if (now >= begin_ns && now < end_ns) {
        uint64_t us = (now - s->sent_ns) / 1000;
        if (us < FINE_US) fine[us]++; else coarse[us / 100 < COARSE ? us / 100 : COARSE - 1]++;
        if (us > worst_us) worst_us = us;
        ops += (uint64_t)batch;
    }
    ops_all += (uint64_t)batch;
    heard_ns = now;
    s->sent_ns = 0;
    c->flying--;
    keep_asking(c);
}

static void readable(struct connection *c) {
    if (c->in_end == c->in_room)
        c->in = realloc(c->in, c->in_room = c->in_room ? 2 * c->in_room : IN_BYTES_MIN);
    ssize_t n = read(c->fd, c->in + c->in_end, c->in_room - c->in_end);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) { fail(c, "the server closed the connection"); return; }
    now = clock_ns();
    c->in_end += (size_t)n;
    size_t at = 0, done = 1;
    while (c->phase != GONE && at < c->in_end && done)
        at += done = protocol->heard(c, c->in + at, c->in_end - at);
    memmove(c->in, c->in + at, c->in_end -= at);
    if (c->phase != GONE) flush(c);
}

static struct connection *dial(void) {
    struct connection *c = calloc(1, sizeof *c);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) fail(NULL, "--host wants an IPv4 address");
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address)) fail(NULL, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (getrandom(c->id, 16, 0) != 16) fail(NULL, "no random bytes");
    struct epoll_event e = {EPOLLIN, {.ptr = c}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
    return c;
}

static void run(void) {
    for (;;) {
        struct epoll_event events[256];
        struct connection *live = NULL;
        for (int i = 0; i < connections && !live; i++) live = all[i]->phase != GONE ? all[i] : NULL;
        if (!live) return;
        int n = epoll_wait(epoll, events, 256, 200);
        if (clock_ns() > heard_ns + STALLED_NS) { fail(live, "no answer for 10 s"); return; }
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->phase != GONE && events[i].events & EPOLLOUT) flush(c);
            if (c->phase != GONE && events[i].events & ~(uint32_t)EPOLLOUT) readable(c);
        }
    }
}

/* -- options and figures ------------------------------------------------------------ */

static uint64_t percentile(double share) {
    uint64_t count = 0, seen = 0;
    for (int i = 0; i < FINE_US; i++) count += fine[i];
    for (int i = 0; i < COARSE; i++) count += coarse[i];
    for (uint64_t i = 0; i < FINE_US; i++)
        if ((seen += fine[i]) && (double)seen >= share * (double)count) return i;
    for (uint64_t i = 0; i < COARSE; i++)
        if ((seen += coarse[i]) && (double)seen >= share * (double)count) return i * 100;
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

static void options(int argc, char **argv) {
    static const struct option names[] = {
        {"proto", 1, 0, 'r'}, {"host", 1, 0, 'h'}, {"port", 1, 0, 'p'}, {"connections", 1, 0, 'c'},
        {"outstanding", 1, 0, 'o'}, {"batch", 1, 0, 'b'}, {"reads", 1, 0, 'g'}, {"seconds", 1, 0, 's'},
        {"warmup", 1, 0, 'w'}, {"value-bytes", 1, 0, 'v'}, {"keys", 1, 0, 'k'}, {"fill", 1, 0, 'f'}, {0, 0, 0, 0}};
    int which, index;
    while ((which = getopt_long(argc, argv, "", names, &index)) != -1) {
        const char *name = which == '?' ? "" : names[index].name;
        if (which == 'r') {
            protocol = NULL;
            for (int i = 0; i < 4; i++) if (!strcmp(optarg, protocols[i]->name)) protocol = protocols[i];
        }
        else if (which == 'h') host = optarg;
        else if (which == 'p') port = (int)option(optarg, name, 1, 65535);
        else if (which == 'c') connections = (int)option(optarg, name, 1, 20000);
        else if (which == 'o') outstanding = (int)option(optarg, name, 1, SLOTS);
        else if (which == 'b') batch = (int)option(optarg, name, 1, 16384);
        else if (which == 'g') reads = (int)option(optarg, name, 0, 100);
        else if (which == 's') seconds = option(optarg, name, 0.01, 86400);
        else if (which == 'w') warmup = option(optarg, name, 0, 86400);
        else if (which == 'v') value_bytes = (int)option(optarg, name, 0, 8 << 20);
        else if (which == 'k') keys = (long)option(optarg, name, 1, 1e12);
        else if (which == 'f') filling = (int)option(optarg, name, 0, 1);
        else { fprintf(stderr, "loadgen: read the head of bench/native/loop.c for what it takes\n"); exit(2); }
    }
    if (!protocol) { fprintf(stderr, "loadgen: --proto must be understudy, redis, etcd or zookeeper\n"); exit(2); }
    if (!port) { fprintf(stderr, "loadgen: --port of the primary is needed\n"); exit(2); }
    if (batch > 1 && !protocol->batches) { fprintf(stderr, "loadgen: --batch must be 1 with %s\n", protocol->name); exit(2); }
    if (filling) reads = 0;
}

static void print(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu_s = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
                   + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    double measured = filling ? (double)(heard_ns - begin_ns) / 1e9 : seconds;
    printf("{\"proto\": \"%s\", \"connections\": %d, \"outstanding\": %d, \"batch\": %d, \"reads\": %d, \"value_bytes\": %d, "
           "\"ops\": %llu, \"ops_all\": %llu, \"seconds\": %.3f, \"ops_per_s\": %.0f, \"p50_us\": %llu, \"p99_us\": %llu, "
           "\"p999_us\": %llu, \"max_us\": %llu, \"client_cpu_s\": %.3f, \"errors\": %llu}\n",
           protocol->name, connections, outstanding, batch, reads, value_bytes, (unsigned long long)ops,
           (unsigned long long)ops_all, measured, measured > 0 ? (double)ops / measured : 0.0,
           (unsigned long long)percentile(0.5), (unsigned long long)percentile(0.99),
           (unsigned long long)percentile(0.999), (unsigned long long)worst_us, cpu_s, (unsigned long long)errors);
}

int main(int argc, char **argv) {
    struct rlimit files;
    options(argc, argv);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    value = memset(malloc((size_t)value_bytes + 1), 'v', (size_t)value_bytes + 1);
    protocol->prepare();
    epoll = epoll_create1(0);
    all = calloc((size_t)connections, sizeof *all);
    opening = connections;
    for (int i = 0; i < connections; i++) all[i] = dial();
    now = heard_ns = clock_ns();
    for (int i = 0; i < connections; i++) {
        protocol->greet(all[i]);
        flush(all[i]);
    }
    run();
    print();
    return errors != 0;
}
