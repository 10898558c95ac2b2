/* TFTP load: clients that fetch one file at the same time, each from an address of its own, and compare every block.
 *
 * get SERVER NAME FILE BLKSIZE WINDOWSIZE CLIENTS FIRST_SOURCE
 *
 * Client n is bound to FIRST_SOURCE + n. Windows as in RFC 7440, what is lost is asked for again after a second.
 * Prints one line of JSON; ends with 1 when a client did not get the file whole within LIMIT_S.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { RRQ = 1, DATA = 3, ACK = 4, ERROR = 5, OACK = 6, MAX_PACKET = 66000, BURST = 256, LIMIT_S = 90 };

struct client {
    int sock, connected, blksize, window, in_window, reported, done;
    uint32_t next; /* the block that is expected */
    double began, heard, took;
};

static struct sockaddr_in server;
static const char *name;
static const uint8_t *content;
static size_t size;
static int blksize, window;
static long repeated, out_of_order;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    perror(what);
    exit(2);
}

static void ask(struct client *c) {
    char out[600];
    int n = sprintf(out, "%c%c%s%coctet%ctsize%c0%c", 0, RRQ, name, 0, 0, 0, 0);
    if (blksize != 512) n += sprintf(out + n, "blksize%c%d%c", 0, blksize, 0);
    if (window > 1) n += sprintf(out + n, "windowsize%c%d%c", 0, window, 0);
    sendto(c->sock, out, n, 0, (struct sockaddr *)&server, sizeof server);
}

static void acknowledge(struct client *c) {
    uint16_t block = c->next - 1;
    uint8_t out[4] = {0, ACK, block >> 8, block};
    send(c->sock, out, 4, 0);
    c->in_window = 0;
}

static void begin(struct client *c, uint32_t source) {
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(source)};
    int buffer = 4 << 20;
    memset(c, 0, sizeof *c);
    c->sock = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (c->sock < 0 || bind(c->sock, (struct sockaddr *)&own, sizeof own)) fail("bind");
    setsockopt(c->sock, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
    c->blksize = 512, c->window = 1, c->next = 1;
    c->began = c->heard = now();
    ask(c);
}

static void options(struct client *c, const uint8_t *at, const uint8_t *end) {
    while (at < end) {
        const char *key = (const char *)at, *value = key + strlen(key) + 1;
        if (value >= (const char *)end) break;
        if (!strcasecmp(key, "blksize")) c->blksize = atoi(value);
        if (!strcasecmp(key, "windowsize")) c->window = atoi(value);
        at = (const uint8_t *)value + strlen(value) + 1;
    }
}

/* Take a block; 1 when the file is whole, -1 when it is not what it should be. */
static int block(struct client *c, uint16_t number, const uint8_t *payload, size_t length) {
    if (number != (uint16_t)c->next) {
        int16_t ahead = number - (uint16_t)c->next;
        out_of_order++;
        if (ahead > 0 && !c->reported) acknowledge(c), c->reported = 1;
        return 0;
    }
    size_t at = (size_t)(c->next - 1) * c->blksize;
    if (at + length > size || memcmp(content + at, payload, length)) return -1;
    c->next++, c->in_window++, c->reported = 0;
    if (length < (size_t)c->blksize) {
        acknowledge(c);
        return at + length == size ? 1 : -1;
    }
    if (c->in_window >= c->window) acknowledge(c);
    return 0;
}

static int receive(struct client *c, double at) {
    static uint8_t in[MAX_PACKET];
    for (int i = 0; i < BURST; i++) {
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t n = recvfrom(c->sock, in, sizeof in - 1, 0, (struct sockaddr *)&from, &length);
        if (n < 4) return 0;
        if (!c->connected) c->connected = !connect(c->sock, (struct sockaddr *)&from, sizeof from);
        c->heard = at;
        in[n] = 0;
        if (in[1] == ERROR) return fprintf(stderr, "server says: %s\n", in + 4), -1;
        if (in[1] == OACK && c->next == 1) options(c, in + 2, in + n), acknowledge(c);
        if (in[1] != DATA) continue;
        int end = block(c, in[2] << 8 | in[3], in + 4, n - 4);
        if (end) return end;
        if (c->window == 1) return 0; /* one is all there can be */
    }
    return 0;
}

static int by_time(const void *a, const void *b) {
    double x = ((const struct client *)a)->took, y = ((const struct client *)b)->took;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    if (argc != 8) return fprintf(stderr, "usage: get SERVER NAME FILE BLKSIZE WINDOWSIZE CLIENTS FIRST_SOURCE\n"), 2;
    server.sin_family = AF_INET, server.sin_port = htons(69);
    inet_pton(AF_INET, argv[1], &server.sin_addr);
    name = argv[2], blksize = atoi(argv[4]), window = atoi(argv[5]);
    int file = open(argv[3], O_RDONLY), clients = atoi(argv[6]), left = clients, bad = 0;
    uint32_t source = ntohl(inet_addr(argv[7]));
    struct stat st;
    if (file < 0 || fstat(file, &st)) fail(argv[3]);
    size = st.st_size;
    content = mmap(0, size, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
    if (content == MAP_FAILED) fail("mmap");
    struct client *all = calloc(clients, sizeof *all);
    int poll = epoll_create1(0);
    double began = now(), looked = began;
    for (int i = 0; i < clients; i++) {
        begin(&all[i], source + i);
        struct epoll_event event = {EPOLLIN, {.ptr = &all[i]}};
        epoll_ctl(poll, EPOLL_CTL_ADD, all[i].sock, &event);
    }
    while (left && now() - began < LIMIT_S) {
        struct epoll_event events[64];
        int n = epoll_wait(poll, events, 64, 100);
        double at = now();
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            int end = receive(c, at);
            if (!end) continue;
            c->done = 1, c->took = now() - c->began, bad += end < 0, left--;
            close(c->sock);
        }
        for (int i = 0; at - looked > 0.1 && i < clients; i++)
            if (!all[i].done && at - all[i].heard > 1.0) {
                all[i].heard = at, repeated++;
                all[i].connected ? acknowledge(&all[i]) : ask(&all[i]);
            }
        if (at - looked > 0.1) looked = at;
    }
    double seconds = now() - began;
    qsort(all, clients, sizeof *all, by_time);
    printf("{\"seconds\": %.6f, \"bytes\": %zu, \"whole\": %d, \"p50_ms\": %.3f, \"max_ms\": %.3f, "
           "\"repeated\": %ld, \"out_of_order\": %ld}\n",
           seconds, size * (size_t)(clients - left - bad), clients - left - bad, all[clients / 2].took * 1e3,
           all[clients - 1].took * 1e3, repeated, out_of_order);
    return left || bad;
}
