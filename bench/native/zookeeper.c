/*
 * ZooKeeper's jute: a session for each connection, then setData and getData, as many
 * in a row as are outstanding.  Filling creates the nodes, so it is for
 * a server that has none.  Sessions are left to end with the server.
 */
#include <stdio.h>
#include <string.h>
#include "load.h"

enum { CREATE = 1, GET_DATA = 4, SET_DATA = 5 };
enum { SESSION_MS = 30000, ALL_RIGHTS = 31, ANY_VERSION = -1 };

static void prepare(void) {}

static uint8_t *put_text(uint8_t *p, const void *text, size_t n) {
    p = put_big(p, n, 4);
    memcpy(p, text, n);
    return p + n;
}

static void frame(struct connection *c, uint8_t *start, uint8_t *end) {
    put_big(start, (uint64_t)(end - start - 4), 4);
    said(c, end);
}

static void greet(struct connection *c) {
    uint8_t *start = room(c, 64), *p = put_big(put_big(start + 4, 0, 4), 0, 8);
    p = put_big(put_big(p, SESSION_MS, 4), 0, 8);
    p = put_text(p, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    *p++ = 0; /* not read-only */
    frame(c, start, p);
}

static void ask(struct connection *c, struct slot *s) {
    char path[KEY_BYTES + 2] = "/";
    uint8_t *start = room(c, (size_t)value_bytes + 128);
    s->tag = c->asked++;
    next_key(path + 1);
    uint8_t *p = put_big(start + 4, s->tag & INT32_MAX, 4);
    p = put_big(p, s->reads ? GET_DATA : filling ? CREATE : SET_DATA, 4);
    p = put_text(p, path, KEY_BYTES + 1);
    if (s->reads) {
        *p++ = 0; /* no watch */
    } else {
        p = put_text(p, value, (size_t)value_bytes);
        if (filling) {
            p = put_big(put_big(p, 1, 4), ALL_RIGHTS, 4);
            p = put_big(put_text(put_text(p, "world", 5), "anyone", 6), 0, 4);
        } else {
            p = put_big(p, (uint64_t)ANY_VERSION, 4);
        }
    }
    frame(c, start, p);
}

static size_t heard(struct connection *c, uint8_t *p, size_t have) {
    size_t length = have < 4 ? 0 : big(p, 4);
    if (have < 4 || have < 4 + length) return 0;
    if (c->phase == OPENING) {
        if (length < 16 || !big(p + 8, 4)) fail(c, "zookeeper: no session");
        else ready(c);
    } else {
        struct slot *s = slot_of(c, c->heard);
        int error = (int)big(p + 16, 4);
        char text[64];
        snprintf(text, sizeof text, "zookeeper: error %d", error);
        if (length < 16 || big(p + 4, 4) != (c->heard & INT32_MAX)) fail(c, "an answer to nothing");
        else if (error) fail(c, text);
        else if (s && s->reads && (big(p + 20, 4) != (uint64_t)value_bytes || memcmp(p + 24, value, (size_t)value_bytes)))
            fail(c, "a get did not say what was put");
        else answered(c, c->heard++);
    }
    return 4 + length;
}

const struct protocol zookeeper = {"zookeeper", 0, prepare, greet, ask, heard, hang_up};
