/*
 * Our own frames: Hello and OpenSession, then Batches of puts and Queries of gets,
 * as a clerk would say them; see docs/protocol.md.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "load.h"

enum { HELLO = 1, NOT_YOURS = 24, OPEN = 30, CLOSE, BATCH, OPENED, CLOSED, BATCH_ANSWER, QUERY = 37, QUERY_ANSWER };
static const uint64_t IS_READ = (uint64_t)1 << 63; /* in a tag; the rest is the sequence or the query's id */

static uint8_t *right_put, *right_get; /* the one good answer to a request of each kind */
static size_t right_put_bytes, right_get_bytes;

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

static size_t header_bytes(size_t n) { return n < 256 ? 2 : n < 65536 ? 3 : 5; }

static void prepare(void) {
    size_t all = (size_t)batch * (8 + (size_t)value_bytes) + 8;
    uint8_t *p = right_put = malloc(all), *q = right_get = malloc(all);
    p = put_array(p, (unsigned)batch), q = put_array(q, (unsigned)batch);
    for (int i = 0; i < batch; i++) {
        p = put_big(p, 0x9200c0, 3);                                   /* [0, nil]: done */
        q = put_bytes(put_big(q, 0x9200, 2), value, (size_t)value_bytes); /* [0, the value] */
    }
    right_put_bytes = (size_t)(p - right_put), right_get_bytes = (size_t)(q - right_get);
}

static void frame(struct connection *c, uint8_t *start, uint8_t *end) {
    put_big(start, (uint64_t)(end - start - 4), 4);
    said(c, end);
}

static void greet(struct connection *c) {
    uint8_t *start = room(c, 64), *p = put_number(put_number(put_array(start + 4, 3), HELLO), 2);
    frame(c, start, (uint8_t *)memcpy(p, "\xa5" "clerk", 6) + 6);
    start = room(c, 64);
    frame(c, start, put_bytes(put_number(put_array(start + 4, 2), OPEN), c->id, 16));
}

static void leave(struct connection *c) {
    uint8_t *start = room(c, 64), *p = put_bytes(put_number(put_array(start + 4, 3), CLOSE), c->id, 16);
    frame(c, start, put_number(p, c->birth));
}

static uint64_t lacking(struct connection *c) {
    uint64_t first = c->sequence;
    for (int i = 0; i < SLOTS; i++) {
        struct slot *s = &c->slots[i];
        if (s->sent_ns && !(s->tag & IS_READ) && s->tag < first) first = s->tag;
    }
    return first;
}

static void ask(struct connection *c, struct slot *s) {
    char key[KEY_BYTES + 1];
    size_t header = header_bytes((size_t)value_bytes);
    size_t one = s->reads ? 2 + 18 : 2 + 18 + header + (size_t)value_bytes;
    size_t body = (batch < 16 ? 1 : 3) + (size_t)batch * one;
    uint8_t *start = room(c, body + 96), *p = start + 4;
    if (s->reads) {
        s->tag = IS_READ | c->asked++;
        p = put_number(put_number(put_array(p, 5), QUERY), s->tag & ~IS_READ);
        p = put_number(put_bytes(p, c->id, 16), 0);
    } else {
        s->tag = ++c->sequence;
        p = put_bytes(put_number(put_array(p, 6), BATCH), c->id, 16);
        p = put_number(put_number(put_number(p, c->birth), s->tag), lacking(c));
    }
    p = put_array(put_bytes_header(p, body), (unsigned)batch);
    for (int i = 0; i < batch; i++) {
        next_key(key);
        p = put_bytes(put_number(put_array(p, s->reads ? 2 : 3), s->reads ? 0 : 1), key, KEY_BYTES);
        if (!s->reads) p = put_bytes(p, value, (size_t)value_bytes);
    }
    frame(c, start, p);
}

static void message(struct connection *c, const uint8_t *p, size_t length) {
    uint64_t tag, n;
    size_t size;
    char text[256];
    const uint8_t *end = p + length;
    p = number(p + 1, &tag);
    if (tag == HELLO) return;
    if (tag == OPENED && c->phase == OPENING) {
        number(p + 18, &c->birth);
        ready(c);
    } else if (tag == CLOSED && c->phase == LEAVING) {
        hang_up(c);
    } else if (tag == BATCH_ANSWER || tag == QUERY_ANSWER) {
        int reads = tag == QUERY_ANSWER;
        const uint8_t *right = reads ? right_get : right_put;
        p = bytes(number(p, &n), &size);
        if (size != (reads ? right_get_bytes : right_put_bytes) || p + size != end || memcmp(p, right, size))
            fail(c, reads ? "a get did not say what was put" : "a put was not done");
        else answered(c, reads ? n | IS_READ : n);
    } else if (tag == NOT_YOURS) {
        fail(c, "this server is not the primary (Redirect)");
    } else {
        snprintf(text, sizeof text, "refused, message %llu: %.*s", (unsigned long long)tag, (int)(end - p), p);
        for (char *t = text; *t; t++) if (*t < ' ' || *t > '~') *t = ' ';
        fail(c, text);
    }
}

static size_t heard(struct connection *c, uint8_t *p, size_t have) {
    size_t length = have < 4 ? 0 : big(p, 4);
    if (have < 4 || have < 4 + length) return 0;
    message(c, p + 4, length);
    return 4 + length;
}

const struct protocol understudy = {"understudy", 1, prepare, greet, ask, heard, leave};
