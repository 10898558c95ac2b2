/* A rack of DHCP clients behind one relay: DISCOVER, OFFER, REQUEST, ACK, a fixed number of them under way at once.
 *
 * usage: dora LOCAL SERVER WINDOW SECONDS CLIENTS FIRST [RECORD]
 *
 * Every exchange is a client of its own: hardware addresses 52:54 and the numbers FIRST, FIRST + 1, ..., at most CLIENTS
 * of them. One that gets no answer within a second starts again. Prints one line of JSON; times are microseconds.
 * RECORD gets "hardware-address ip" for every ACK, as soon as it arrived.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { IDLE, DISCOVERING, REQUESTING };
enum { OFFER = 2, ACK = 5, NAK = 6 };
#define RETRY_S 1.0

struct client {
    uint32_t xid, number;
    int state;
    double begun, asked;
};

struct samples {
    double *at;
    size_t count, room;
};

static uint32_t relay_address;
static int sock;
static struct sockaddr_in server;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void note(struct samples *s, double value)
{
    if (s->count == s->room) {
        s->room = s->room ? s->room * 2 : 65536;
        s->at = realloc(s->at, s->room * sizeof *s->at);
        if (!s->at) exit(3);
    }
    s->at[s->count++] = value;
}

static double quantile(const struct samples *s, double q)
{
    return s->count ? s->at[(size_t)((double)(s->count - 1) * q)] * 1e6 : 0.0;
}

static uint8_t *put(uint8_t *p, uint8_t code, uint8_t size, const void *value)
{
    *p++ = code;
    *p++ = size;
    memcpy(p, value, size);
    return p + size;
}

/* What UEFI firmware sends: the options of a PXE client, and a request list of 24. */
static void ask(struct client *c, uint8_t type, const uint8_t *address, const uint8_t *server_id)
{
    static const uint8_t wanted[] = {1, 3, 6, 12, 15, 28, 42, 43, 51, 54, 58, 59, 60, 66, 67, 97,
                                     128, 129, 130, 131, 132, 133, 134, 135};
    uint8_t packet[512] = {1, 1, 6, 1}, uuid[17] = {0}, *p = packet + 240;
    /* scattered, and each once: dnsmasq chooses an address by a sum over the hardware address, and neighbours collide */
    uint32_t xid = htonl(c->xid), number = htonl(c->number * 2654435761u);
    memcpy(packet + 4, &xid, 4);
    memcpy(packet + 24, &relay_address, 4);
    packet[28] = 0x52, packet[29] = 0x54;
    memcpy(packet + 30, &number, 4);
    memcpy(packet + 236, "\x63\x82\x53\x63", 4);
    p = put(p, 53, 1, &type);
    p = put(p, 57, 2, "\x05\xc0");
    p = put(p, 55, sizeof wanted, wanted);
    memcpy(uuid + 1, "\x11\x22\x33\x44\x55\x66\x77\x48\x99\xaa\xbb\xcc", 12);
    memcpy(uuid + 13, &number, 4);
    p = put(p, 97, 17, uuid);
    p = put(p, 94, 3, "\x01\x03\x10");
    p = put(p, 93, 2, "\x00\x07");
    p = put(p, 60, 32, "PXEClient:Arch:00007:UNDI:003016");
    if (address) p = put(p, 50, 4, address);
    if (server_id) p = put(p, 54, 4, server_id);
    *p++ = 255;
    size_t size = (size_t)(p - packet) < 300 ? 300 : (size_t)(p - packet);
    sendto(sock, packet, size, 0, (struct sockaddr *)&server, sizeof server);
    c->asked = now();
}

static const uint8_t *option(const uint8_t *packet, ssize_t size, int code)
{
    for (ssize_t at = 240; at + 1 < size && packet[at] != 255;) {
        if (!packet[at]) {
            at++;
            continue;
        }
        if (at + 2 + packet[at + 1] > size) return NULL;
        if (packet[at] == code) return packet + at + 2;
        at += 2 + packet[at + 1];
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 7) return 2;
    size_t window = strtoul(argv[3], NULL, 0);
    double seconds = strtod(argv[4], NULL);
    uint32_t clients = (uint32_t)strtoul(argv[5], NULL, 0), first = (uint32_t)strtoul(argv[6], NULL, 0), next = 0;
    FILE *record = argc > 7 ? fopen(argv[7], "w") : NULL;
    if (window < 1 || window > 1024) return 2;
    if (record) setvbuf(record, NULL, _IOLBF, 0);
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(67)};
    server = local;
    inet_pton(AF_INET, argv[1], &local.sin_addr);
    inet_pton(AF_INET, argv[2], &server.sin_addr);
    relay_address = local.sin_addr.s_addr;
    sock = socket(AF_INET, SOCK_DGRAM, 0);
    int buffer = 4 << 20;
    setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
    if (bind(sock, (struct sockaddr *)&local, sizeof local)) {
        perror("bind");
        return 1;
    }
    struct client *all = calloc(window, sizeof *all);
    struct samples whole = {0}, offers = {0}, acks = {0};
    unsigned long late = 0, refused = 0, strange = 0;
    uint32_t generation = (uint32_t)(now() * 1000);
    double start = now(), end = start + seconds, looked = start, last = start;
    size_t open = 0;
#define BEGIN(c)                                                                              \
    do {                                                                                      \
        if (next < clients) {                                                                 \
            (c)->xid = (++generation << 10) | (uint32_t)((c) - all);                          \
            (c)->number = first + next++;                                                     \
            (c)->state = DISCOVERING;                                                         \
            (c)->begun = now();                                                               \
            ask((c), 1, NULL, NULL);                                                          \
        } else {                                                                              \
            (c)->state = IDLE;                                                                \
            open--;                                                                           \
        }                                                                                     \
    } while (0)
    for (size_t i = 0; i < window; i++) {
        open++;
        BEGIN(&all[i]);
    }
    for (double t; open && (t = now()) < end;) {
        if (t - looked > 0.05) {
            looked = t;
            for (size_t i = 0; i < window; i++)
                if (all[i].state != IDLE && t - all[i].asked > RETRY_S) {
                    late++;
                    all[i].state = DISCOVERING;
                    ask(&all[i], 1, NULL, NULL);
                }
        }
        uint8_t p[2048];
        ssize_t size = recv(sock, p, sizeof p, MSG_DONTWAIT);
        if (size < 0) {
            struct pollfd readable = {sock, POLLIN, 0};
            poll(&readable, 1, 20);
            continue;
        }
        uint32_t xid;
        memcpy(&xid, p + 4, 4);
        struct client *c = &all[(ntohl(xid) & 1023) < window ? ntohl(xid) & 1023 : 0];
        const uint8_t *type = size < 240 ? NULL : option(p, size, 53), *id = type ? option(p, size, 54) : NULL;
        if (!type || !id || p[0] != 2 || c->xid != ntohl(xid)) {
            strange++;
            continue;
        }
        t = now();
        if (*type == OFFER && c->state == DISCOVERING) {
            note(&offers, t - c->asked);
            c->state = REQUESTING;
            ask(c, 3, p + 16, id);
        } else if (*type == ACK && c->state == REQUESTING) {
            note(&acks, t - c->asked);
            note(&whole, t - c->begun);
            last = t;
            if (record) {
                fprintf(record, "%02x:%02x:%02x:%02x:%02x:%02x %u.%u.%u.%u\n", p[28], p[29], p[30], p[31], p[32], p[33],
                        p[16], p[17], p[18], p[19]);
            }
            BEGIN(c);
        } else if (*type == NAK) {
            refused++;
            BEGIN(c);
        } else {
            strange++;
        }
    }
    if (record) fclose(record);
    double took = (open ? now() : last) - start;
    struct samples *kinds[] = {&whole, &offers, &acks};
    for (int i = 0; i < 3; i++) qsort(kinds[i]->at, kinds[i]->count, sizeof(double), ascending);
    printf("{\"exchanges\": %zu, \"per_s\": %.1f, \"p50\": %.0f, \"p99\": %.0f, \"offer_p50\": %.0f, \"offer_p99\": %.0f, "
           "\"offer_max\": %.0f, \"ack_p50\": %.0f, \"ack_p99\": %.0f, \"late\": %lu, \"refused\": %lu, \"strange\": %lu}\n",
           whole.count, (double)whole.count / took, quantile(&whole, .5), quantile(&whole, .99), quantile(&offers, .5),
           quantile(&offers, .99), quantile(&offers, 1), quantile(&acks, .5), quantile(&acks, .99), late, refused, strange);
    return 0;
}
