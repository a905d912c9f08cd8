/* Slices of text, and buffers that grow. */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *claimed(void *memory)
{
    if (memory == NULL) {
        fputs("yardstick: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

bool same(struct slice one, struct slice other)
{
    return one.length == other.length && memcmp(one.at, other.at, one.length) == 0;
}

bool begins(struct slice text, struct slice start)
{
    return text.length >= start.length && memcmp(text.at, start.at, start.length) == 0;
}

struct slice after(struct slice text, size_t count)
{
    return (struct slice){text.at + count, text.length - count};
}

bool as_number(struct slice text, uint64_t *number)
{
    *number = 0;
    for (size_t i = 0; i < text.length; i++) {
        if (text.at[i] < '0' || text.at[i] > '9' || *number > (UINT64_C(1) << 62) / 10)
            return false;
        *number = *number * 10 + (uint64_t)(text.at[i] - '0');
    }
    return text.length > 0;
}

bool parameter(struct slice query, const char *name, struct slice *value)
{
    size_t size = strlen(name);
    while (query.length > 0) {
        const char *end = memchr(query.at, '&', query.length);
        size_t length = end == NULL ? query.length : (size_t)(end - query.at);
        if (length >= size && memcmp(query.at, name, size) == 0 && (length == size || query.at[size] == '=')) {
            size_t start = length == size ? size : size + 1;
            *value = (struct slice){query.at + start, length - start};
            return true;
        }
        query = after(query, end == NULL ? length : length + 1);
    }
    return false;
}

static int digit(char letter)
{
    if (letter >= '0' && letter <= '9')
        return letter - '0';
    letter |= 0x20;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

struct slice unescaped(struct slice text, char *into, size_t room)
{
    size_t used = 0;
    for (size_t i = 0; i < text.length && used < room; i++) {
        char letter = text.at[i];
        if (letter == '%' && i + 2 < text.length && digit(text.at[i + 1]) >= 0 && digit(text.at[i + 2]) >= 0) {
            letter = (char)(digit(text.at[i + 1]) * 16 + digit(text.at[i + 2]));
            i += 2;
        }
        into[used++] = letter;
    }
    return (struct slice){into, used};
}

void reserve(struct buffer *out, size_t more)
{
    if (out->room - out->used >= more)
        return;
    out->room = out->room * 2 > out->used + more ? out->room * 2 : out->used + more;
    out->at = claimed(realloc(out->at, out->room));
}

void add(struct buffer *out, struct slice text)
{
    reserve(out, text.length);
    memcpy(out->at + out->used, text.at, text.length);
    out->used += text.length;
}

void add_number(struct buffer *out, uint64_t number)
{
    char digits[20], *at = digits + sizeof digits;
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    add(out, (struct slice){at, (size_t)(digits + sizeof digits - at)});
}

void add_hex(struct buffer *out, uint64_t number, int digits)
{
    reserve(out, (size_t)digits);
    for (int i = digits - 1; i >= 0; i--, number >>= 4)
        out->at[out->used + (size_t)i] = "0123456789abcdef"[number & 15];
    out->used += (size_t)digits;
}

void add_xml(struct buffer *out, struct slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        switch (text.at[i]) {
        case '&': ADD(out, "&amp;"); break;
        case '<': ADD(out, "&lt;"); break;
        case '>': ADD(out, "&gt;"); break;
        case '"': ADD(out, "&quot;"); break;
        default: add(out, (struct slice){text.at + i, 1});
        }
    }
}
