/* System calls that fail now and then, by a seeded schedule, and a clock that steps.
 *
 * Preloaded into a process of the tests. The environment says what happens:
 *
 *   FAULT_CALL      write, open, fsync or send
 *   FAULT_PATH      only descriptors or paths with this text in their name ("" for sockets)
 *   FAULT_ERRNOS    numbers, of which one is drawn for each failure
 *   FAULT_PERMILLE  how often a call fails; FAULT_SHORT how often a write writes half
 *   FAULT_ARMED     a file; nothing fails before it is there
 *   FAULT_MS        for how long from the first such call on
 *   CLOCK_STEP      seconds by which the wall clock jumps, CLOCK_MS after the first look at it
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;
static double began = -1;

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

static double now_ms(void) {
    static int (*real)(clockid_t, struct timespec *);
    struct timespec at;
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    real(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1e3 + at.tv_nsec / 1e6;
}

static unsigned draw(unsigned limit) {
    if (!state) state = 0x9E3779B97F4A7C15u ^ (uint64_t)number("FAULT_SEED", 1);
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)((state >> 33) % limit);
}

static int is_due(const char *call, const char *path) {
    const char *wanted = getenv("FAULT_CALL"), *part = getenv("FAULT_PATH");
    const char *armed = getenv("FAULT_ARMED");
    if (!wanted || strcmp(wanted, call) || !part || !strstr(path, part)) return 0;
    if (began < 0 && armed && access(armed, F_OK)) return 0;
    if (began < 0) began = now_ms();
    return now_ms() - began < number("FAULT_MS", 1000);
}

static int an_errno(void) {
    char copy[128] = "5", *place = NULL, *each;
    int found[16], count = 0;
    if (getenv("FAULT_ERRNOS")) snprintf(copy, sizeof copy, "%s", getenv("FAULT_ERRNOS"));
    for (each = strtok_r(copy, ",", &place); each && count < 16; each = strtok_r(NULL, ",", &place))
        found[count++] = atoi(each);
    return found[draw(count)];
}

static int fails(const char *call, const char *path) {
    if (!is_due(call, path) || draw(1000) >= (unsigned)number("FAULT_PERMILLE", 0)) return 0;
    errno = an_errno();
    return 1;
}

static const char *name_of(int fd, char *name, size_t size) {
    char link[64];
    ssize_t length;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, name, size - 1);
    name[length < 0 ? 0 : length] = 0;
    return name;
}

ssize_t write(int fd, const void *data, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    char name[512];
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if (getenv("FAULT_CALL") && !strcmp(getenv("FAULT_CALL"), "write")) {
        name_of(fd, name, sizeof name);
        if (fails("write", name)) return -1;
        if (size > 1 && is_due("write", name) && draw(1000) < (unsigned)number("FAULT_SHORT", 0))
            size /= 2;
    }
    return real(fd, data, size);
}

int fsync(int fd) {
    static int (*real)(int);
    char name[512];
    if (!real) real = dlsym(RTLD_NEXT, "fsync");
    return fails("fsync", name_of(fd, name, sizeof name)) ? -1 : real(fd);
}

ssize_t send(int fd, const void *data, size_t size, int flags) {
    static ssize_t (*real)(int, const void *, size_t, int);
    if (!real) real = dlsym(RTLD_NEXT, "send");
    return fails("send", "") ? -1 : real(fd, data, size, flags);
}

#define OPENER(function)                                                    \
    int function(const char *path, int flags, ...) {                        \
        static int (*real)(const char *, int, ...);                         \
        va_list more;                                                       \
        mode_t mode;                                                        \
        va_start(more, flags);                                              \
        mode = va_arg(more, mode_t);                                        \
        va_end(more);                                                       \
        if (!real) real = dlsym(RTLD_NEXT, #function);                      \
        return fails("open", path) ? -1 : real(path, flags, mode);          \
    }
OPENER(open)
OPENER(open64)

int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    static double first = -1;
    int result;
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    result = real(clock, at);
    if (clock == CLOCK_REALTIME && getenv("CLOCK_STEP")) {
        if (first < 0) first = now_ms();
        if (now_ms() - first >= number("CLOCK_MS", 0)) at->tv_sec += number("CLOCK_STEP", 0);
    }
    return result;
}
