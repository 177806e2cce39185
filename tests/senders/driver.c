/* A program around the sender in C that does what its standard input says: see driver.py.
 * It also reads datagrams:   read DATAGRAM   the fields of one of version 1, or the reason against it
 */
#define _POSIX_C_SOURCE 200809L
#include "../../senders/c/batchudp.h"

#include <inttypes.h>
#include <stdlib.h>

enum { MAX_WORDS = 16, MAX_LINE = 400000 };

static struct batchudp sender;
static char line[MAX_LINE], *words[MAX_WORDS];
static unsigned char bytes[MAX_LINE / 2], made[BATCHUDP_LARGEST];

static uint64_t number(int word) { return strtoull(words[word], NULL, 10); }

static size_t from_hex(const char *text) {
    size_t length = strcmp(text, "-") == 0 ? 0 : strlen(text) / 2;
    for (size_t i = 0; i < length; i++) {
        unsigned value;
        sscanf(text + 2 * i, "%2x", &value);
        bytes[i] = (unsigned char)value;
    }
    bytes[length] = 0;
    return length;
}

static void print_hex(const unsigned char *from, size_t length) {
    for (size_t i = 0; i < length; i++) printf("%02x", from[i]);
    puts(length == 0 ? "-" : "");
}

static uint64_t at(size_t offset, int length) {
    uint64_t value = 0;
    for (int i = 0; i < length; i++) value = value << 8 | bytes[offset + (size_t)i];
    return value;
}

/* Print the fields of a datagram without a key, in the order of the checks of the format. */
static void read_datagram(size_t length) {
    if (length < 3 || at(0, 2) != 0xcbf2) { puts("malformed"); return; }
    if (bytes[2] < 0x80) {
        int is_zlib = (bytes[3] & 15) == 8 && at(3, 2) % 31 == 0;
        if (bytes[2] > 1) { puts("unsupported_flags"); return; }
        if (bytes[2] == 1 && !is_zlib) { puts("malformed"); return; }
        printf("baseline %u ", bytes[2]);
        print_hex(bytes + 3, length - 3);
        return;
    }
    if (bytes[2] != 0x81) { puts("unsupported_version"); return; }
    if (length < 42) { puts("malformed"); return; }
    if (bytes[3] < 1 || bytes[3] > 4) { puts("unsupported_type"); return; }
    if (bytes[7] != 0) { puts("unsupported_flags"); return; }
    if (at(length - 4, 4) != batchudp_crc32(bytes, length - 4)) { puts("bad_crc"); return; }
    printf("%u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " ",
           bytes[3], bytes[6], at(8, 8), at(16, 8), at(24, 4), at(28, 4), at(32, 2), at(34, 2),
           at(36, 2));
    print_hex(bytes + 38, length - 42);
}

static void obey(const char *word) {
    if (strcmp(word, "seal") == 0) {
        size_t length = from_hex(words[12]);
        print_hex(made, batchudp_seal(made, (int)number(1), (int)number(4), number(5), number(6),
                                      (uint32_t)number(7), (uint32_t)number(8), (unsigned)number(9),
                                      (unsigned)number(10), (unsigned)number(11), bytes, length));
    } else if (strcmp(word, "sync") == 0) {
        print_hex(made, batchudp_seal_sync(made, number(3), number(4), number(5), (uint32_t)number(6),
                                           (uint32_t)number(7), (unsigned)number(8),
                                           (uint32_t)number(9), (int)number(10),
                                           (uint32_t)number(11)));
    } else if (strcmp(word, "read") == 0) {
        read_datagram(from_hex(words[1]));
    } else if (strcmp(word, "open") == 0) {
        int result = batchudp_open(&sender, words[1], words[2], "driver");
        sender.max_datagram = (uint16_t)number(3);
        puts(result == 0 ? "ok" : "failed");
    } else if (strcmp(word, "log") == 0) {
        from_hex(words[2]);
        batchudp_log(&sender, (int)number(1), "%s", (const char *)bytes);
        puts("ok");
    } else if (strcmp(word, "row") == 0) {
        size_t length = from_hex(words[1]);
        batchudp_row(&sender, (const char *)bytes, length);
        puts("ok");
    } else if (strcmp(word, "flush") == 0) {
        batchudp_flush(&sender);
        puts("ok");
    } else if (strcmp(word, "close") == 0) {
        batchudp_close(&sender);
        printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %u\n", sender.accepted, sender.sent,
               sender.dropped, sender.waiting);
    }
    fflush(stdout);
}

int main(void) {
    while (fgets(line, sizeof line, stdin) != NULL) {
        int count = 0;
        for (char *word = strtok(line, " \n"); word != NULL && count < MAX_WORDS;
             word = strtok(NULL, " \n"))
            words[count++] = word;
        if (count > 0) obey(words[0]);
    }
    return 0;
}
