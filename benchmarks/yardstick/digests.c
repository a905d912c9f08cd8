/* CRC-32 (IEEE 802.3), CRC-32C (RFC 3720) and MD5 (RFC 1321), of content that repeats a piece of memory. */
#include "server.h"

#include <math.h>
#include <string.h>

/* -- CRCs, eight bytes a step ---------------------------------------------------------------------------------------- */

static int crc_of(uint32_t polynomial, const char *bytes, uint64_t period, uint64_t length, unsigned char *digest)
{
    static uint32_t table[8][256];
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ polynomial : value >> 1;
        table[0][i] = value;
    }
    for (int row = 1; row < 8; row++)
        for (int i = 0; i < 256; i++)
            table[row][i] = table[row - 1][i] >> 8 ^ table[0][table[row - 1][i] & 255];

    uint32_t crc = UINT32_MAX;
    while (length > 0) {
        const unsigned char *at = (const unsigned char *)bytes;
        uint64_t left = length < period ? length : period;
        length -= left;
        for (; left >= 8; left -= 8, at += 8) {
            uint32_t low, high;
            memcpy(&low, at, 4), memcpy(&high, at + 4, 4);
            low ^= crc;
            crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^ table[4][low >> 24] ^
                  table[3][high & 255] ^ table[2][high >> 8 & 255] ^ table[1][high >> 16 & 255] ^ table[0][high >> 24];
        }
        for (; left > 0; left--)
            crc = crc >> 8 ^ table[0][(crc ^ *at++) & 255];
    }
    crc = ~crc;
    for (int i = 0; i < 4; i++)
        digest[i] = (unsigned char)(crc >> (24 - 8 * i));
    return 4;
}

int crc32_of(const char *bytes, uint64_t period, uint64_t length, unsigned char *digest)
{
    return crc_of(0xEDB88320u, bytes, period, length, digest);
}

int crc32c_of(const char *bytes, uint64_t period, uint64_t length, unsigned char *digest)
{
    return crc_of(0x82F63B78u, bytes, period, length, digest);
}

/* -- MD5 ------------------------------------------------------------------------------------------------------------- */

static void md5_block(uint32_t *state, const unsigned char *block, const uint32_t *sines)
{
    static const int SHIFTS[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    uint32_t words[16], a = state[0], b = state[1], c = state[2], d = state[3];
    memcpy(words, block, 64);
    for (int i = 0; i < 64; i++) {
        uint32_t mixed;
        int word;
        switch (i / 16) {
        case 0: mixed = d ^ (b & (c ^ d)), word = i; break;
        case 1: mixed = c ^ (d & (b ^ c)), word = (5 * i + 1) & 15; break;
        case 2: mixed = b ^ c ^ d, word = (3 * i + 5) & 15; break;
        default: mixed = c ^ (b | ~d), word = 7 * i & 15;
        }
        uint32_t sum = a + mixed + sines[i] + words[word];
        int shift = SHIFTS[i / 16][i & 3];
        a = d, d = c, c = b;
        b += sum << shift | sum >> (32 - shift);
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
}

int md5_of(const char *bytes, uint64_t period, uint64_t length, unsigned char *digest)
{
    uint32_t state[4] = {0x67452301u, 0xEFCDAB89u, 0x98BADCFEu, 0x10325476u}, sines[64];
    for (int i = 0; i < 64; i++)
        sines[i] = (uint32_t)(fabs(sin(i + 1)) * 4294967296.0);
    unsigned char rest[128] = {0};
    size_t held = 0; /* bytes of a block that is not full: a period need not end with a block */
    for (uint64_t left = length; left > 0;) {
        uint64_t piece = left < period ? left : period, at = 0;
        left -= piece;
        while (at < piece) {
            if (held == 0 && piece - at >= 64) {
                md5_block(state, (const unsigned char *)bytes + at, sines);
                at += 64;
                continue;
            }
            size_t some = 64 - held < piece - at ? 64 - held : (size_t)(piece - at);
            memcpy(rest + held, bytes + at, some);
            held += some, at += some;
            if (held == 64) {
                md5_block(state, rest, sines);
                held = 0;
            }
        }
    }
    size_t end = held < 56 ? 64 : 128;
    memset(rest + held, 0, sizeof rest - held);
    rest[held] = 0x80;
    uint64_t bits = length * 8;
    memcpy(rest + end - 8, &bits, 8);
    for (size_t at = 0; at < end; at += 64)
        md5_block(state, rest + at, sines);
    memcpy(digest, state, 16);
    return 16;
}

void in_base64(const unsigned char *bytes, int count, char *text)
{
    static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < count; i += 3) {
        unsigned group = (unsigned)bytes[i] << 16;
        group |= i + 1 < count ? (unsigned)bytes[i + 1] << 8 : 0;
        group |= i + 2 < count ? bytes[i + 2] : 0u;
        *text++ = LETTERS[group >> 18 & 63];
        *text++ = LETTERS[group >> 12 & 63];
        *text++ = i + 1 < count ? LETTERS[group >> 6 & 63] : '=';
        *text++ = i + 2 < count ? LETTERS[group & 63] : '=';
    }
    *text = '\0';
}
