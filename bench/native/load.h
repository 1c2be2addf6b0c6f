/*
 * What the loop and the protocols share.
 *
 * The loop (loop.c) keeps every connection's slots full: a slot is one request on
 * its way, with the tag by which its protocol finds it again.  A protocol turns
 * slots into bytes and bytes into answers, and knows nothing of time or epoll.
 */
#ifndef LOAD_H
#define LOAD_H
#include <stddef.h>
#include <stdint.h>

enum { SLOTS = 64, KEY_BYTES = 16 };
enum phase { OPENING, READY, RUNNING, LEAVING, GONE };

struct slot {
    uint64_t tag, sent_ns;              /* sent_ns 0: free */
    int reads;
    uint8_t *body;                      /* etcd: what the windows do not take yet */
    size_t body_at, body_end, heard;
    int64_t window;
};

struct connection {
    int fd, waits_to_write, flying;
    enum phase phase;
    struct slot slots[SLOTS];
    uint8_t *in, *out;
    size_t in_end, in_room, out_at, out_end, out_room;
    uint64_t asked, heard;              /* requests of protocols that answer in order */
    uint8_t id[16];                     /* understudy */
    uint64_t birth, sequence;
    unsigned oks;                       /* redis: answers seen of the request being answered */
    int64_t window, stream_window;      /* etcd: what the server takes now, of all streams; of a new one */
    uint64_t stream, unconfirmed;
};

struct protocol {
    const char *name;
    int batches;                        /* whether a request can be of several commands */
    void (*prepare)(void);              /* once */
    void (*greet)(struct connection *); /* ends in `ready`, at once or when it is answered */
    void (*ask)(struct connection *, struct slot *);
    size_t (*heard)(struct connection *, uint8_t *, size_t); /* -> bytes done with; 0: not whole yet */
    void (*leave)(struct connection *); /* ends in `hang_up`, at once or when it is answered */
};

extern const struct protocol understudy, redis, etcd, zookeeper;

/* What was asked for. */
extern int batch, value_bytes, filling;
extern uint8_t *value;                  /* of value_bytes */

void next_key(char key[KEY_BYTES + 1]);
uint8_t *room(struct connection *, size_t bytes); /* the end of what is to be written */
void said(struct connection *, uint8_t *end);
void ready(struct connection *);
void answered(struct connection *, uint64_t tag);
struct slot *slot_of(struct connection *, uint64_t tag); /* NULL: there is none */
void hang_up(struct connection *);
void fail(struct connection *, const char *why);

static inline uint8_t *put_big(uint8_t *p, uint64_t n, int bytes) {
    while (bytes--) *p++ = (uint8_t)(n >> (8 * bytes));
    return p;
}
static inline uint64_t big(const uint8_t *p, int bytes) {
    uint64_t n = 0;
    while (bytes--) n = n << 8 | *p++;
    return n;
}
#endif
