/* The objects that exist without being stored: numbered names, and one pattern for all of their content. */
#define _GNU_SOURCE
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Larger than the caches of processors, so that nobody reads it faster than memory gives it; a multiple of a page. */
static const uint64_t LONGEST_PERIOD = UINT64_C(128) << 20;

struct objects objects;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

void make_objects(const char *checksum)
{
    objects.period = objects.size < LONGEST_PERIOD ? objects.size : LONGEST_PERIOD;
    uint64_t room = objects.period > 0 ? objects.period : 1;
    objects.pattern = memfd_create("pattern", MFD_CLOEXEC);
    if (objects.pattern < 0 || ftruncate(objects.pattern, (off_t)room) < 0)
        fail("pattern");
    char *bytes = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED, objects.pattern, 0);
    if (bytes == MAP_FAILED)
        fail("pattern");
    /* xorshift64*: any piece that is lost, doubled or out of place changes every digest. */
    uint64_t seed = UINT64_C(0x9E3779B97F4A7C15);
    for (uint64_t at = 0; at < objects.period; at += 8) {
        seed ^= seed >> 12, seed ^= seed << 25, seed ^= seed >> 27;
        uint64_t word = seed * UINT64_C(0x2545F4914F6CDD1D);
        memcpy(bytes + at, &word, objects.period - at < 8 ? objects.period - at : 8);
    }
    objects.pattern_bytes = bytes;

    unsigned char digest[16];
    int count = 0;
    if (strcmp(checksum, "crc32") == 0) {
        objects.checksum_name = "Content-CRC32", objects.checksum_type = "CRC_32";
        count = crc32_of(bytes, objects.period, objects.size, digest);
    } else if (strcmp(checksum, "crc32c") == 0) {
        objects.checksum_name = "Content-CRC32C", objects.checksum_type = "CRC_32C";
        count = crc32c_of(bytes, objects.period, objects.size, digest);
    } else if (strcmp(checksum, "md5") == 0) {
        objects.checksum_name = "Content-MD5", objects.checksum_type = "MD5";
        count = md5_of(bytes, objects.period, objects.size, digest);
    } else {
        objects.checksum_type = "MD5"; /* a policy has one in any case */
    }
    in_base64(digest, count, objects.checksum);
}

struct slice name_of(uint64_t number, char *into)
{
    size_t length = objects.prefix.length + NAME_DIGITS;
    memcpy(into, objects.prefix.at, objects.prefix.length);
    for (size_t i = length; i-- > objects.prefix.length; number /= 10)
        into[i] = (char)('0' + number % 10);
    return (struct slice){into, length};
}

bool find_object(struct slice name, uint64_t *number)
{
    return name.length == objects.prefix.length + NAME_DIGITS && begins(name, objects.prefix) &&
           as_number(after(name, objects.prefix.length), number) && *number < objects.count;
}

/* -1, 0 or 1: how two texts are ordered, by their bytes. */
static int order(struct slice one, struct slice other)
{
    size_t shorter = one.length < other.length ? one.length : other.length;
    int found = memcmp(one.at, other.at, shorter);
    if (found == 0)
        found = (one.length > other.length) - (one.length < other.length);
    return found;
}

/* The first object whose name is not before `bound`, or with `above` not up to `bound`. */
static uint64_t first_from(struct slice bound, bool above)
{
    char name[NAME_ROOM];
    uint64_t low = 0, high = objects.count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int found = order(name_of(middle, name), bound);
        if (found < 0 || (above && found == 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void range_of(struct slice prefix, struct slice marker, uint64_t *start, uint64_t *end)
{
    char name[NAME_ROOM];
    *start = first_from(prefix, false);
    uint64_t low = *start, high = objects.count;
    while (low < high) { /* names with the prefix stand together */
        uint64_t middle = low + (high - low) / 2;
        if (begins(name_of(middle, name), prefix))
            low = middle + 1;
        else
            high = middle;
    }
    *end = low;
    if (marker.length > 0) {
        uint64_t from = first_from(marker, true);
        *start = from > *start ? from : *start;
    }
    if (*start > *end)
        *start = *end;
}
