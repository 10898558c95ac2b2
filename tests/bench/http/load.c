/* HTTP load: connections that fetch one path again and again for so many seconds, and count what arrives.
 *
 * load SERVER PORT PATH SIZE CONNECTIONS SECONDS
 *
 * Every answer must be 200 with SIZE bytes. Prints one line of JSON: bytes, seconds, the least and the most that a
 * connection got. Ends with 1 when an answer was not what it should be.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD = 4096, CHUNK = 1 << 18 };

struct connection {
    int sock, head_size, in_body;
    long long body, all;
    char head[HEAD];
};

static char request[512];
static long long size;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void ask(struct connection *c) {
    c->head_size = c->in_body = 0;
    c->body = 0;
    if (send(c->sock, request, strlen(request), 0) < 0) perror("send"), exit(1);
}

static void body(struct connection *c, long long n) {
    c->body += n, c->all += n;
    if (c->body > size) fprintf(stderr, "more than %lld bytes\n", size), exit(1);
    if (c->body == size) ask(c);
}

/* Read once; the head of an answer is gathered, its body is thrown away. */
static int receive(struct connection *c) {
    static char chunk[CHUNK];
    if (c->in_body) {
        ssize_t n = recv(c->sock, chunk, sizeof chunk, 0);
        if (n > 0) body(c, n);
        return n > 0 || (n < 0 && errno == EAGAIN);
    }
    ssize_t n = recv(c->sock, c->head + c->head_size, HEAD - 1 - c->head_size, 0);
    if (n <= 0) return n < 0 && errno == EAGAIN;
    c->head_size += n;
    c->head[c->head_size] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) return c->head_size < HEAD - 1;
    char *length = strcasestr(c->head, "content-length:");
    if (strncmp(c->head, "HTTP/1.1 200", 12) || !length || atoll(length + 15) != size)
        return fprintf(stderr, "answer: %.200s\n", c->head), 0;
    c->in_body = 1;
    body(c, c->head_size - (end + 4 - c->head));
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 7) return fprintf(stderr, "usage: load SERVER PORT PATH SIZE CONNECTIONS SECONDS\n"), 2;
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &server.sin_addr);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", argv[3], argv[1]);
    size = atoll(argv[4]);
    int count = atoi(argv[5]), poll = epoll_create1(0);
    double limit = atof(argv[6]), began = now();
    struct connection *all = calloc(count, sizeof *all);
    for (int i = 0; i < count; i++) {
        all[i].sock = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(all[i].sock, (struct sockaddr *)&server, sizeof server)) return perror("connect"), 1;
        struct epoll_event event = {EPOLLIN, {.ptr = &all[i]}};
        epoll_ctl(poll, EPOLL_CTL_ADD, all[i].sock, &event);
        ask(&all[i]);
    }
    while (now() - began < limit) {
        struct epoll_event events[128];
        int n = epoll_wait(poll, events, 128, 100);
        for (int i = 0; i < n; i++)
            if (!receive(events[i].data.ptr)) return fprintf(stderr, "connection lost\n"), 1;
    }
    double seconds = now() - began;
    long long total = 0, least = -1, most = 0;
    for (int i = 0; i < count; i++) {
        total += all[i].all;
        if (least < 0 || all[i].all < least) least = all[i].all;
        if (all[i].all > most) most = all[i].all;
    }
    printf("{\"bytes\": %lld, \"seconds\": %.6f, \"least\": %lld, \"most\": %lld}\n", total, seconds, least, most);
    return 0;
}
