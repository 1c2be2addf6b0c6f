/*
 * RESP: a request that writes is one or more SETs followed by WAIT 1 0, in the same
 * write; one that reads is as many GETs.
 */
#include <stdio.h>
#include <string.h>
#include "load.h"

static void prepare(void) {}
static void greet(struct connection *c) { ready(c); }

static void ask(struct connection *c, struct slot *s) {
    char key[KEY_BYTES + 1];
    uint8_t *p = room(c, (size_t)batch * (96 + (size_t)value_bytes) + 64);
    s->tag = c->asked++;
    for (int i = 0; i < batch; i++) {
        next_key(key);
        if (s->reads) {
            p += sprintf((char *)p, "*2\r\n$3\r\nGET\r\n$16\r\n%s\r\n", key);
            continue;
        }
        p += sprintf((char *)p, "*3\r\n$3\r\nSET\r\n$16\r\n%s\r\n$%d\r\n", key, value_bytes);
        memcpy(p, value, (size_t)value_bytes);
        p += value_bytes;
        *p++ = '\r', *p++ = '\n';
    }
    if (!s->reads) p += sprintf((char *)p, "*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$1\r\n0\r\n");
    said(c, p);
}

static size_t got(struct connection *c, uint8_t *p, size_t head, size_t have) { /* "$100\r\n..." */
    size_t whole = head + (size_t)value_bytes + 2;
    char expected[32];
    int length = snprintf(expected, sizeof expected, "$%d\r\n", value_bytes);
    if (head != (size_t)length || memcmp(p, expected, head)) {
        fail(c, "a get did not say what was put");
        return head;
    }
    if (have < whole) return 0;
    if (memcmp(p + head, value, (size_t)value_bytes)) fail(c, "a get did not say what was put");
    else if (++c->oks == (unsigned)batch) { c->oks = 0; answered(c, c->heard++); }
    return whole;
}

static size_t heard(struct connection *c, uint8_t *p, size_t have) {
    uint8_t *end = memchr(p, '\n', have);
    struct slot *s = slot_of(c, c->heard);
    if (!end) return 0;
    size_t line = (size_t)(end + 1 - p);
    if (s && s->reads) return got(c, p, line, have);
    if (*p == '+' && c->oks < (unsigned)batch) c->oks++;
    else if (*p != ':' || p[1] == '0' || c->oks != (unsigned)batch) fail(c, "redis: no +OK, or no replica (WAIT said 0)");
    else { c->oks = 0; answered(c, c->heard++); }
    return line;
}

const struct protocol redis = {"redis", 1, prepare, greet, ask, heard, hang_up};
