/* A mock OpenAI server that keeps exact time and a truth log, for measuring load generators.
 *
 * One thread, one epoll; each connection carries one streamed answer at a time. Tokens are due at absolute times
 * (received + TTFT + n * ITL). For every answer one line goes to the truth log: bytes of the request, then nanoseconds of
 * CLOCK_MONOTONIC: received (request complete), first token, last token (each read just before its send), tokens, and
 * again nanoseconds: the first byte of the request.
 *
 * Usage: mock PORT TTFT_US ITL_US TRUTH_LOG
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FD 16384
#define MAX_IN (1 << 20)

typedef struct {
    char *in;
    size_t used;
    int tokens, sent, chat, place; /* place in the heap, -1: not in it */
    long prompt;
    size_t body; /* where it begins */
    int64_t begun, received, first, last, due;
} Conn;

static Conn conns[MAX_FD];
static int heap[MAX_FD], heap_size;
static int64_t ttft_ns, itl_ns;
static FILE *truth;
static volatile sig_atomic_t stopping;

static void on_signal(int s) { (void)s; stopping = 1; }

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void put(int i, int fd) { heap[i] = fd; conns[fd].place = i; }

static void up(int i) {
    int fd = heap[i];
    while (i && conns[heap[(i - 1) / 2]].due > conns[fd].due) { put(i, heap[(i - 1) / 2]); i = (i - 1) / 2; }
    put(i, fd);
}

static void down(int i) {
    int fd = heap[i];
    for (;;) {
        int c = 2 * i + 1;
        if (c >= heap_size) break;
        if (c + 1 < heap_size && conns[heap[c + 1]].due < conns[heap[c]].due) c++;
        if (conns[heap[c]].due >= conns[fd].due) break;
        put(i, heap[c]);
        i = c;
    }
    put(i, fd);
}

static void push(int fd) { put(heap_size, fd); up(heap_size++); }

static void drop(int fd) {
    int i = conns[fd].place;
    if (i < 0) return;
    conns[fd].place = -1;
    int last = heap[--heap_size];
    if (last == fd) return;
    put(i, last);
    up(i);
    down(conns[last].place);
}

static void close_conn(int fd) {
    drop(fd);
    conns[fd].used = 0;
    close(fd);
}

static int say(int fd, const char *text, size_t n) { return send(fd, text, n, MSG_NOSIGNAL) == (ssize_t)n; }

static int event(char *out, const char *json) {
    size_t n = strlen(json) + 8;
    return sprintf(out, "%zx\r\ndata: %s\n\n\r\n", n, json);
}

static const char *ID = "\"id\":\"chatcmpl-0123456789abcdef\",\"created\":1790000000,\"model\":\"mock\",\"system_fingerprint\":null";

static void token(int fd) {
    Conn *c = &conns[fd];
    char json[512], out[2560];
    int n = 0, is_last = c->sent + 1 == c->tokens;
    if (c->chat && !c->sent) { /* a chunk with the role alone goes just before the first token, as vLLM's does */
        sprintf(json, "{%s,\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
                "\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}", ID);
        n = event(out, json);
    }
    if (c->chat)
        sprintf(json, "{%s,\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},"
                "\"logprobs\":null,\"finish_reason\":%s}]}", ID, is_last ? "\"length\"" : "null");
    else
        sprintf(json, "{%s,\"object\":\"text_completion\",\"choices\":[{\"index\":0,\"text\":\" word\",\"logprobs\":null,"
                "\"finish_reason\":%s}]}", ID, is_last ? "\"length\"" : "null");
    n += event(out + n, json);
    if (is_last) {
        sprintf(json, "{%s,\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":%ld,"
                "\"completion_tokens\":%d,\"total_tokens\":%ld}}", ID, c->prompt, c->tokens, c->prompt + c->tokens);
        n += event(out + n, json);
        n += event(out + n, "[DONE]");
        n += sprintf(out + n, "0\r\n\r\n");
    }
    int64_t at = now_ns();
    if (!c->sent) c->first = at;
    c->last = at;
    c->sent++;
    if (!say(fd, out, n)) { close_conn(fd); return; }
    if (is_last) {
        drop(fd);
        fprintf(truth, "%ld %lld %lld %lld %d %lld\n", c->prompt, (long long)c->received, (long long)c->first,
                (long long)c->last, c->tokens, (long long)c->begun);
        return;
    }
    c->due += itl_ns;
    down(c->place);
}

static long number_after(const char *in, const char *key, long otherwise) {
    const char *at = strstr(in, key);
    if (!at) return otherwise;
    at += strlen(key);
    while (*at == ' ' || *at == ':' || *at == '"') at++;
    return *at >= '0' && *at <= '9' ? atol(at) : otherwise;
}

static long words(const char *body) {
    const char *at = strstr(body, "\"content\"");
    if (!at) at = strstr(body, "\"prompt\"");
    long n = 1;
    const char *end = at;
    while (end && (end = strchr(end, '"')) && !(end[1] == '}' || (end[1] == ',' && end[2] == '"'))) end++;
    if (at && !end) end = at + strlen(at);
    for (; at < end; at++) n += *at == ' '; /* simple enough for the compiler to vectorize: prompts may be long */
    return n;
}

static void answer_json(int fd, const char *json) {
    char out[1024];
    int n = sprintf(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(json), json);
    if (!say(fd, out, n)) close_conn(fd);
}

static void request(int fd, const char *head, const char *body) {
    static const char *START = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
    Conn *c = &conns[fd];
    char out[1024];
    if (!strncmp(head, "GET ", 4)) {
        answer_json(fd, "{\"object\":\"list\",\"data\":[{\"id\":\"mock\",\"object\":\"model\",\"max_model_len\":8192}]}");
        return;
    }
    c->chat = strstr(head, "/chat/completions") && strstr(head, "/chat/completions") < body;
    long asked = number_after(body, "\"max_completion_tokens\"", number_after(body, "\"max_tokens\"", 16));
    c->tokens = asked > 0 ? (int)asked : 1;
    c->sent = 0;
    c->prompt = words(body);
    c->due = c->received + ttft_ns;
    int n = sprintf(out, "%s", START);
    if (!say(fd, out, n)) { close_conn(fd); return; }
    push(fd);
}

/* 1 when the request is complete. */
static int readable(int fd) {
    Conn *c = &conns[fd];
    if (!c->in) c->in = malloc(MAX_IN + 1);
    ssize_t n = recv(fd, c->in + c->used, MAX_IN - c->used, 0);
    if (n <= 0) { if (n == 0 || (errno != EAGAIN && errno != EINTR)) close_conn(fd); return 0; }
    if (!c->used) c->begun = now_ns();
    c->used += n;
    c->in[c->used] = 0;
    char *end = strstr(c->in, "\r\n\r\n");
    if (!end) return 0;
    char *length = strcasestr(c->in, "content-length:");
    size_t want = length && length < end ? strtoul(length + 15, NULL, 10) : 0;
    size_t head = end + 4 - c->in;
    if (c->used < head + want) return 0;
    c->used = 0;
    c->received = now_ns();
    c->body = head;
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 5) { fprintf(stderr, "usage: mock PORT TTFT_US ITL_US TRUTH_LOG\n"); return 2; }
    ttft_ns = atoll(argv[2]) * 1000;
    itl_ns = atoll(argv[3]) * 1000;
    truth = fopen(argv[4], "w");
    if (!truth) { perror(argv[4]); return 1; }
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    signal(SIGPIPE, SIG_IGN);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 4096)) { perror("listen"); return 1; }
    socklen_t size = sizeof address;
    getsockname(server, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    int poll = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = server}, events[512];
    epoll_ctl(poll, EPOLL_CTL_ADD, server, &e);
    for (int i = 0; i < MAX_FD; i++) conns[i].place = -1;
    while (!stopping) {
        struct timespec wait = {1, 0};
        if (heap_size) {
            int64_t left = conns[heap[0]].due - now_ns();
            if (left < 0) left = 0;
            if (left < 1000000000LL) { wait.tv_sec = 0; wait.tv_nsec = left; }
        }
        int n = epoll_pwait2(poll, events, 512, &wait, NULL);
        int complete = 0; /* all requests are received, and their times noted, before the first is answered */
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd != server) {
                if (readable(fd)) events[complete++].data.fd = fd;
                continue;
            }
            while ((fd = accept4(server, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                if (fd >= MAX_FD) { close(fd); continue; }
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                conns[fd].used = 0;
                e.data.fd = fd;
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e);
            }
        }
        for (int i = 0; i < complete; i++) {
            int fd = events[i].data.fd;
            request(fd, conns[fd].in, conns[fd].in + conns[fd].body);
        }
        int64_t at = now_ns();
        while (heap_size && conns[heap[0]].due <= at) token(heap[0]);
    }
    fclose(truth);
    return 0;
}
