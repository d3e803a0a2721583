/* What the load generator measures with: a clock, a histogram, texts with places to fill, and numbers found in text. */
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

typedef struct {
    uint64_t buckets[64 * 32], count, highest;
} Histogram;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static double cpu_seconds(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

/* 32 buckets for each power of two: within 3 % of the true value. */
static void record(Histogram *h, uint64_t value) {
    int power = value < 32 ? 0 : 63 - __builtin_clzll(value) - 4;
    h->buckets[power * 32 + (int)((value >> (power ? power - 1 : 0)) & 31)]++;
    h->count++;
    if (value > h->highest) h->highest = value;
}

static double percentile_ms(const Histogram *h, double share) {
    uint64_t wanted = (uint64_t)(share * (double)h->count), seen = 0;
    for (int i = 0; i < 64 * 32 && h->count; i++) {
        seen += h->buckets[i];
        if (seen > wanted) return (double)(i < 32 ? (uint64_t)i : (uint64_t)(32 + i % 32) << (i / 32 - 1)) / 1e6;
    }
    return (double)h->highest / 1e6;
}

/* The text with %C replaced by the connection's number, %P by the payload, %F by the payload as a form's value, %L by its length.
 * Returns how long it is then. */
static size_t expand(char *to, const char *text, int connection, const char *payload, int size) {
    char *end = to;
    for (const char *p = text; *p; p++) {
        if (*p != '%') *end++ = *p;
        else if (*++p == 'P') end = mempcpy(end, payload, (size_t)size);
        else if (*p == 'F') for (const char *q = payload; q < payload + size; q++)
            end += isalnum(*q) ? (*end = *q, 1) : sprintf(end, "%%%02X", *q);
        else end += sprintf(end, "%d", *p == 'C' ? connection : size);
    }
    return (size_t)(end - to);
}

/* The number after "key": in the text, skipping spaces; false when it is not there. Moves *at behind it. */
static bool number_after(const char **at, const char *end, const char *key, uint64_t *value) {
    const char *p = memmem(*at, (size_t)(end - *at), key, strlen(key));
    if (!p) return false;
    for (p += strlen(key); p < end && *p == ' ';) p++;
    for (*value = 0; p < end && *p >= '0' && *p <= '9'; p++) *value = *value * 10 + (uint64_t)(*p - '0');
    *at = p;
    return true;
}
