/*
 * etcd's gRPC: Put and Range (linearizable, which is the default) over HTTP/2 without
 * TLS, every request a stream of its own.
 *
 * Of HTTP/2 this is what a client needs that sends few headers and looks at none.
 * An answer has a message; a stream that ends without one has failed, and why is
 * in headers that are not decoded here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "load.h"

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, WINDOW_UPDATE = 8 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };
enum { FRAME_MAX = 16384, HEAD = 9, WINDOW = 65535, INITIAL_WINDOW_SIZE = 4, CONFIRM_EACH = 1 << 20 };

static uint8_t headers[2][256];         /* of a Put and of a Range */
static size_t headers_end[2];

static uint8_t *put_literal(uint8_t *p, const char *text) {
    size_t n = strlen(text);
    *p++ = (uint8_t)n;
    memcpy(p, text, n);
    return p + n;
}

static void prepare(void) {
    static const char *const paths[2] = {"/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range"};
    for (int reads = 0; reads < 2; reads++) {
        uint8_t *p = headers[reads];
        *p++ = 0x83, *p++ = 0x86;                       /* POST, http: from HPACK's own table */
        *p++ = 0x04, p = put_literal(p, paths[reads]);  /* :path */
        *p++ = 0x01, p = put_literal(p, "127.0.0.1");   /* :authority */
        *p++ = 0x0f, *p++ = 0x10, p = put_literal(p, "application/grpc"); /* content-type */
        *p++ = 0x00, p = put_literal(put_literal(p, "te"), "trailers");
        headers_end[reads] = (size_t)(p - headers[reads]);
    }
}

static uint8_t *put_head(uint8_t *p, size_t length, int type, int flags, uint64_t stream) {
    p = put_big(p, length, 3);
    *p++ = (uint8_t)type, *p++ = (uint8_t)flags;
    return put_big(p, stream, 4);
}

static void tell(struct connection *c, int type, int flags, const void *payload, size_t length) {
    uint8_t *p = put_head(room(c, HEAD + length), length, type, flags, 0);
    memcpy(p, payload, length);
    said(c, p + length);
}

static void greet(struct connection *c) {
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    uint8_t *p = room(c, 64), settings[6], all[4];
    memcpy(p, preface, 24);
    said(c, p + 24);
    put_big(put_big(settings, INITIAL_WINDOW_SIZE, 2), INT32_MAX, 4);
    tell(c, SETTINGS, 0, settings, sizeof settings);
    put_big(all, INT32_MAX - WINDOW, 4);
    tell(c, WINDOW_UPDATE, 0, all, sizeof all);
    c->window = c->stream_window = WINDOW;
    c->stream = 1;
}

static void push(struct connection *c) { /* whatever the windows take */
    for (int i = 0; i < SLOTS; i++) {
        struct slot *s = &c->slots[i];
        while (s->sent_ns && s->body_at < s->body_end) {
            int64_t n = (int64_t)(s->body_end - s->body_at);
            if (n > FRAME_MAX) n = FRAME_MAX;
            if (n > s->window) n = s->window;
            if (n > c->window) n = c->window;
            if (n <= 0) break;
            int is_last = s->body_at + (size_t)n == s->body_end;
            uint8_t *p = put_head(room(c, HEAD + (size_t)n), (size_t)n, DATA, is_last ? END_STREAM : 0, s->tag);
            memcpy(p, s->body + s->body_at, (size_t)n);
            said(c, p + n);
            s->body_at += (size_t)n, s->window -= n, c->window -= n;
        }
    }
}

static uint8_t *put_varint(uint8_t *p, uint64_t n) {
    for (; n > 127; n >>= 7) *p++ = (uint8_t)(n | 128);
    *p++ = (uint8_t)n;
    return p;
}

static void ask(struct connection *c, struct slot *s) {
    char key[KEY_BYTES + 1];
    if (!s->body) s->body = malloc((size_t)value_bytes + 64);
    next_key(key);
    uint8_t *p = s->body + 5;
    *p++ = 0x0a, *p++ = KEY_BYTES;                       /* field 1: key */
    memcpy(p, key, KEY_BYTES);
    p += KEY_BYTES;
    if (!s->reads) {
        *p++ = 0x12, p = put_varint(p, (uint64_t)value_bytes); /* field 2: value */
        memcpy(p, value, (size_t)value_bytes);
        p += value_bytes;
    }
    s->body[0] = 0;                                      /* not compressed */
    put_big(s->body + 1, (uint64_t)(p - s->body - 5), 4);
    s->body_at = 0, s->body_end = (size_t)(p - s->body);
    s->tag = c->stream, s->window = c->stream_window, s->heard = 0;
    c->stream += 2;
    p = put_head(room(c, HEAD + 256), headers_end[s->reads], HEADERS, END_HEADERS, s->tag);
    memcpy(p, headers[s->reads], headers_end[s->reads]);
    said(c, p + headers_end[s->reads]);
    push(c);
}

static void settings(struct connection *c, const uint8_t *p, size_t length) {
    for (; length >= 6; p += 6, length -= 6) {
        if (big(p, 2) != INITIAL_WINDOW_SIZE) continue;
        int64_t window = (int64_t)big(p + 2, 4);
        for (int i = 0; i < SLOTS; i++) c->slots[i].window += window - c->stream_window;
        c->stream_window = window;
    }
    tell(c, SETTINGS, ACK, "", 0);
    push(c);
}

static void data(struct connection *c, struct slot *s, size_t length) {
    if (s) s->heard += length;
    if ((c->unconfirmed += length) < CONFIRM_EACH) return;
    uint8_t all[4];
    put_big(all, c->unconfirmed, 4);
    tell(c, WINDOW_UPDATE, 0, all, sizeof all);
    c->unconfirmed = 0;
}

static void ended(struct connection *c, struct slot *s) {
    size_t least = s->reads ? (size_t)value_bytes : 5;
    if (s->heard < least) fail(c, s->reads ? "a get did not say what was put" : "a put was not done");
    else if (s->body_at < s->body_end) fail(c, "etcd: answered before it was asked");
    else answered(c, s->tag);
}

static size_t heard(struct connection *c, uint8_t *p, size_t have) {
    size_t length = have < HEAD ? 0 : big(p, 3);
    if (have < HEAD || have < HEAD + length) return 0;
    int type = p[3], flags = p[4];
    uint64_t stream = big(p + 5, 4) & INT32_MAX;
    struct slot *s = stream ? slot_of(c, stream) : NULL;
    p += HEAD;
    if (type == GOAWAY || type == RST_STREAM) fail(c, type == GOAWAY ? "etcd: goaway" : "etcd: stream reset");
    else if (type == PING && !(flags & ACK)) tell(c, PING, ACK, p, length);
    else if (type == SETTINGS && !(flags & ACK)) {
        settings(c, p, length);
        if (c->phase == OPENING) ready(c);
    } else if (type == WINDOW_UPDATE) {
        if (s) s->window += (int64_t)big(p, 4);
        else if (!stream) c->window += (int64_t)big(p, 4);
        push(c);
    } else if (type == DATA || type == HEADERS) {
        if (!s) fail(c, "an answer to nothing");
        else if (type == DATA) data(c, s, length);
        if (s && flags & END_STREAM) ended(c, s);
    }
    return HEAD + length;
}

const struct protocol etcd = {"etcd", 0, prepare, greet, ask, heard, hang_up};
