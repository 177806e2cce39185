/* Ships log records in numbered batches over UDP to a batchudp receiver: one header, C99, POSIX.
 *
 *     static struct batchudp sender;
 *     if (batchudp_open(&sender, "localhost", "9999", "shop") == 0) {
 *         batchudp_log(&sender, BATCHUDP_INFO, "order %d paid", 17);
 *         batchudp_close(&sender);
 *     }
 *
 * It speaks one-way delivery of version 1: numbered datagrams, so that the receiver counts what the
 * network lost, and SYNC datagrams, which tell it what this side had to drop. Nothing here blocks
 * after batchudp_open, or allocates. Threads that share a sender need a mutex around each call.
 */
#ifndef BATCHUDP_H
#define BATCHUDP_H

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { BATCHUDP_DEBUG = 10, BATCHUDP_INFO = 20, BATCHUDP_WARNING = 30, BATCHUDP_ERROR = 40,
       BATCHUDP_CRITICAL = 50 };
enum { BATCHUDP_DATA = 1, BATCHUDP_SYNC = 3 };
enum {
    BATCHUDP_HEADER = 38,          /* bytes */
    BATCHUDP_TRAILER = 4,          /* bytes: a CRC32 */
    BATCHUDP_SYNC_BODY = 86,       /* bytes: a SYNC datagram has 128 */
    BATCHUDP_SMALLEST = 508,       /* bytes of a datagram that every path carries */
    BATCHUDP_LARGEST = 65507,      /* bytes of a datagram that UDP carries */
    BATCHUDP_MESSAGE = 8192,       /* bytes of one message; the rest is cut */
    BATCHUDP_BUFFER = 65536,       /* bytes of waiting rows; a larger row is dropped */
    BATCHUDP_RECORDS = 1024        /* of one batch */
};

struct batchudp {
    /* settings, which may be changed after batchudp_open */
    unsigned batch_size;           /* waiting records that are sent at once */
    double flush_interval;         /* seconds after which batchudp_tick sends fewer */
    uint16_t max_datagram;         /* bytes; what needs more is sent in fragments */
    /* counts of records; accepted is the sum of sent, dropped and waiting */
    uint64_t accepted, sent, dropped;
    unsigned waiting;
    /* the rest is the sender's own */
    int socket;
    struct sockaddr_storage address;
    socklen_t address_length;
    pid_t pid;
    char host[256], name[256];
    uint64_t stream_id, seq, syncs;
    uint32_t rec;
    unsigned idle_syncs;
    double sync_at, flush_at;
    size_t used, row_used;
    unsigned char rows[BATCHUDP_BUFFER];
    char row[BATCHUDP_BUFFER];
    unsigned char datagram[BATCHUDP_LARGEST];
};

static inline unsigned char *batchudp_put(unsigned char *at, uint64_t value, int bytes) {
    while (bytes-- > 0) *at++ = (unsigned char)(value >> (8 * bytes));
    return at;
}

static inline uint32_t batchudp_crc32(const unsigned char *bytes, size_t length) {
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0xedb88320 : crc >> 1;
    }
    return ~crc;
}

/* Write one datagram of version 1 to `out`, and return its length. */
static inline size_t batchudp_seal(unsigned char *out, int type, int codec, uint64_t stream_id,
                                   uint64_t seq, uint32_t rec, uint32_t sealed_at, unsigned n_rec,
                                   unsigned index, unsigned count, const void *body, size_t length) {
    unsigned char *at = batchudp_put(out, 0xcbf28100 + (unsigned)type, 4);
    at = batchudp_put(at, 0, 2); /* no key */
    at = batchudp_put(at, (unsigned)codec, 1);
    at = batchudp_put(at, 0, 1); /* flags */
    at = batchudp_put(at, stream_id, 8);
    at = batchudp_put(at, seq, 8);
    at = batchudp_put(at, rec, 4);
    at = batchudp_put(at, sealed_at, 4);
    at = batchudp_put(at, n_rec, 2);
    at = batchudp_put(at, index, 2);
    at = batchudp_put(at, count, 2);
    if (length > 0) memcpy(at, body, length);
    at += length;
    return (size_t)(batchudp_put(at, batchudp_crc32(out, (size_t)(at - out)), 4) - out);
}

/* Write a SYNC to `out`, which tells how many records there were, and return its length. */
static inline size_t batchudp_seal_sync(unsigned char *out, uint64_t stream_id, uint64_t counter,
                                        uint64_t next_seq, uint32_t next_rec, uint32_t dropped,
                                        unsigned max_datagram, uint32_t promise_ms, int closing,
                                        uint32_t sealed_at) {
    unsigned char body[BATCHUDP_SYNC_BODY] = {0};
    body[0] = closing ? 2 : 0;
    batchudp_put(body + 2, max_datagram, 2);
    batchudp_put(body + 4, next_seq, 8);
    batchudp_put(body + 12, next_seq, 8); /* the floor: this side holds nothing */
    batchudp_put(body + 20, next_rec, 4);
    batchudp_put(body + 24, dropped, 4);
    batchudp_put(body + 52, promise_ms, 4);
    return batchudp_seal(out, BATCHUDP_SYNC, 0, stream_id, counter, 0, sealed_at, 0, 0, 1, body,
                         sizeof body);
}

static inline double batchudp_now(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline int batchudp_transmit(struct batchudp *s, size_t length) {
    return sendto(s->socket, s->datagram, length, MSG_DONTWAIT,
                  (const struct sockaddr *)&s->address, s->address_length) < 0 ? -1 : 0;
}

static inline void batchudp_sync(struct batchudp *s, int closing) {
    static const double pauses[] = {1.0, 10.0, 60.0};
    s->idle_syncs = s->idle_syncs < 2 ? s->idle_syncs + 1 : 2;
    s->sync_at = batchudp_now(CLOCK_MONOTONIC) + pauses[s->idle_syncs];
    batchudp_transmit(s, batchudp_seal_sync(s->datagram, s->stream_id, s->syncs++, s->seq, s->rec,
                                            (uint32_t)s->dropped, s->max_datagram, 0, closing,
                                            (uint32_t)time(NULL)));
}

/* Begin a stream with nothing; a forked child does it once more. */
static inline void batchudp_begin(struct batchudp *s) {
    FILE *random = fopen("/dev/urandom", "rb");
    s->pid = getpid();
    s->stream_id = (uint64_t)s->pid << 32 ^ (uint64_t)(batchudp_now(CLOCK_REALTIME) * 1e6);
    if (random != NULL) {
        if (fread(&s->stream_id, sizeof s->stream_id, 1, random) != 1) s->stream_id ^= 1;
        fclose(random);
    }
    s->accepted = s->sent = s->dropped = s->seq = s->syncs = 0;
    s->used = s->waiting = s->idle_syncs = s->rec = 0;
    s->sync_at = 1e300; /* not before the first record */
}

/* Look up the receiver and begin; return 0, or -1 if its name or a socket cannot be had. */
static inline int batchudp_open(struct batchudp *s, const char *host, const char *port,
                                const char *name) {
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found;
    s->socket = -1;
    if (getaddrinfo(host, port, &hints, &found) != 0) return -1;
    s->socket = socket(found->ai_family, SOCK_DGRAM, 0);
    memcpy(&s->address, found->ai_addr, found->ai_addrlen);
    s->address_length = found->ai_addrlen;
    freeaddrinfo(found);
    snprintf(s->name, sizeof s->name, "%s", name);
    if (gethostname(s->host, sizeof s->host) != 0) s->host[0] = '\0';
    s->host[sizeof s->host - 1] = '\0';
    s->batch_size = 50;
    s->flush_interval = 1.0;
    s->max_datagram = 1432;
    batchudp_begin(s);
    return s->socket < 0 ? -1 : 0;
}

/* Send what waits; what the system does not take is dropped and counted. */
static inline void batchudp_flush(struct batchudp *s) {
    if (s->pid != getpid()) batchudp_begin(s);
    if (s->waiting == 0) return;
    if (s->syncs == 0) batchudp_sync(s, 0);
    size_t room = s->max_datagram - (size_t)(BATCHUDP_HEADER + BATCHUDP_TRAILER);
    s->rows[s->used++] = ']'; /* room for it was kept */
    unsigned count = (unsigned)((s->used + room - 1) / room);
    for (unsigned i = 0; i < count; i++) {
        size_t length = i + 1 < count ? room : s->used - i * room;
        int result = batchudp_transmit(
            s, batchudp_seal(s->datagram, BATCHUDP_DATA, 0, s->stream_id, s->seq + i, s->rec,
                             (uint32_t)time(NULL), s->waiting, i, count, s->rows + i * room, length));
        if (result != 0 && i == 0) { /* a later fragment that fails is lost, and counted there */
            if (errno == EMSGSIZE) s->max_datagram = BATCHUDP_SMALLEST;
            s->dropped += s->waiting;
            count = 0;
        }
    }
    if (count > 0) {
        s->seq += count;
        s->rec += s->waiting;
        s->sent += s->waiting;
        s->idle_syncs = 0;
    }
    s->sync_at = batchudp_now(CLOCK_MONOTONIC) + 1.0;
    s->used = s->waiting = 0;
}

/* Do what is due; call it from time to time where the program may be silent for seconds. */
static inline void batchudp_tick(struct batchudp *s) {
    double now = batchudp_now(CLOCK_MONOTONIC);
    if (s->pid != getpid()) batchudp_begin(s);
    if (s->waiting > 0 && now >= s->flush_at) batchudp_flush(s);
    if (now >= s->sync_at) batchudp_sync(s, 0);
}

/* Queue one row: a JSON object in UTF-8 of the members that the payload specification names. */
static inline void batchudp_row(struct batchudp *s, const char *json, size_t length) {
    if (s->pid != getpid()) batchudp_begin(s);
    s->accepted++;
    if (length + 2 > sizeof s->rows) {
        s->dropped++;
        return;
    }
    size_t room = s->max_datagram - (size_t)(BATCHUDP_HEADER + BATCHUDP_TRAILER);
    size_t limit = s->used == 0 ? sizeof s->rows : room;
    if (s->used + length + 2 > limit || s->waiting >= BATCHUDP_RECORDS) batchudp_flush(s);
    if (s->waiting++ == 0) s->flush_at = batchudp_now(CLOCK_MONOTONIC) + s->flush_interval;
    s->rows[s->used++] = s->waiting == 1 ? '[' : ',';
    memcpy(s->rows + s->used, json, length);
    s->used += length;
    if (s->waiting >= s->batch_size) batchudp_flush(s);
    batchudp_tick(s);
}

/* Return the length of the UTF-8 character at `text`, or 0 where there is none. */
static inline int batchudp_utf8(const unsigned char *text) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    int length = *text < 0x80 ? 1 : *text < 0xc2 ? 0 : *text < 0xe0 ? 2 : *text < 0xf0 ? 3
                 : *text < 0xf5 ? 4 : 0;
    if (length < 2) return length;
    uint32_t code = *text & (0xffu >> (length + 1));
    for (int i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | (text[i] & 0x3f);
    }
    return code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : length;
}

static inline void batchudp_raw(struct batchudp *s, const char *text, size_t length) {
    if (s->row_used + length > sizeof s->row) return; /* cannot be: messages are cut before */
    memcpy(s->row + s->row_used, text, length);
    s->row_used += length;
}

/* Append a member that is a string; bytes that are no UTF-8 become U+FFFD. */
static inline void batchudp_text(struct batchudp *s, const char *member, const char *text) {
    char escape[8];
    batchudp_raw(s, member, strlen(member));
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0';) {
        int length = batchudp_utf8(at);
        if (length == 0)
            batchudp_raw(s, "\xef\xbf\xbd", 3);
        else if (length == 1 && (*at < 0x20 || *at == '"' || *at == '\\'))
            batchudp_raw(s, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", *at));
        else
            batchudp_raw(s, (const char *)at, (size_t)length);
        at += length == 0 ? 1 : length;
    }
    batchudp_raw(s, "\"", 1);
}

/* Queue one record, whose message is formatted as printf does. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static inline void batchudp_log(struct batchudp *s, int level, const char *format, ...) {
    char message[BATCHUDP_MESSAGE], rest[96];
    struct timespec now;
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(message, sizeof message, format, arguments) < 0) message[0] = '\0';
    va_end(arguments);
    clock_gettime(CLOCK_REALTIME, &now);
    s->row_used = 0;
    batchudp_text(s, "{\"message\":\"", message);
    batchudp_text(s, ",\"name\":\"", s->name);
    batchudp_text(s, ",\"hostname\":\"", s->host);
    int length = snprintf(rest, sizeof rest, ",\"levelno\":%d,\"process\":%ld,\"created\":%lld.%06ld}",
                          level, (long)getpid(), (long long)now.tv_sec, now.tv_nsec / 1000);
    batchudp_raw(s, rest, (size_t)length);
    batchudp_row(s, s->row, s->row_used);
    if (level >= BATCHUDP_ERROR) batchudp_flush(s);
}

/* Send what waits and take leave of the receiver. */
static inline void batchudp_close(struct batchudp *s) {
    struct timespec pause = {.tv_nsec = 50000000};
    if (s->socket < 0) return;
    batchudp_flush(s);
    for (int i = 0; i < 2 && s->accepted > 0; i++) {
        batchudp_sync(s, 1);
        if (i == 0) nanosleep(&pause, NULL);
    }
    close(s->socket);
    s->socket = -1;
}

#endif
