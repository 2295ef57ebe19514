/* Simulated servers on virtual time. Built and called by queue_models.py; one request takes about 0.1 us. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define RING 65536 /* requests that may be outstanding; a server with more of them is saturated */

enum { QUEUE, ENGINE, SHARE };
enum { NORMAL, UNIFORM, LOGNORMAL, EXPONENTIAL };

typedef struct {
    int kind, slots, latency; /* what the bound is on: the whole; the wait of a queue, or TTFT; TPOT of an engine */
    double rate;
    int draw;                /* of a service time in seconds, or of an output length in steps */
    double first, second;    /* its parameters */
    double prefill, prefill_sd, step, per_request;
    double miss, burst, active;      /* share of slow requests; requests per mode; share of the mode that has them */
    double drift;                    /* factor on the service that is reached after drift_requests, and then stays */
    double drift_requests;
    double cold;                     /* factor on the latency of the first cold_requests */
    double cold_requests;
    double served;                   /* requests that the server has had before */
} Model;

typedef struct {
    Model m;
    uint64_t s[4];
    double spare;
    int has_spare, slow;
    double now, arrival, progress;
    double *heap; /* ends of service, or progress at the end */
    int64_t *who;
    int heaped;
    double *ends; /* a second heap: requests in flight of a queue */
    int ended;
    double latency[RING], came[RING], length[RING], left[RING], first[RING]; /* left: when it was complete */
    int32_t found[RING];
    int64_t arrived, started, reported;
} Sim;

static uint64_t next64(Sim *x) {
    uint64_t *s = x->s, r = s[0] + s[3], t = s[1] << 17;
    r = ((r << 23) | (r >> 41)) + s[0];
    s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3], s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return r;
}

static double uniform(Sim *x) { return ((next64(x) >> 11) + 0.5) * 0x1p-53; }

static double exponential(Sim *x, double rate) { return -log(uniform(x)) / rate; }

static double normal(Sim *x) {
    if (x->has_spare) {
        x->has_spare = 0;
        return x->spare;
    }
    double radius = sqrt(-2 * log(uniform(x))), angle = 2 * M_PI * uniform(x);
    x->has_spare = 1;
    x->spare = radius * sin(angle);
    return radius * cos(angle);
}

static double gauss(Sim *x, double mean, double sd) { return fmax(mean / 100, mean + sd * normal(x)); }

static double draw(Sim *x) {
    const Model *m = &x->m;
    switch (m->draw) {
        case NORMAL: return gauss(x, m->first, m->second);
        case UNIFORM: return m->first + (m->second - m->first) * uniform(x);
        case LOGNORMAL: return m->first * exp(m->second * normal(x) - m->second * m->second / 2);
        default: return exponential(x, 1 / m->first);
    }
}

static void push(double *heap, int64_t *who, int *size, double key, int64_t number) {
    int at = (*size)++;
    while (at && heap[(at - 1) / 2] > key) {
        heap[at] = heap[(at - 1) / 2];
        if (who) who[at] = who[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = key;
    if (who) who[at] = number;
}

static void pop(double *heap, int64_t *who, int *size) {
    double key = heap[--*size];
    int64_t number = who ? who[*size] : 0;
    int at = 0;
    for (;;) {
        int child = 2 * at + 1;
        if (child >= *size) break;
        if (child + 1 < *size && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= key) break;
        heap[at] = heap[child];
        if (who) who[at] = who[child];
        at = child;
    }
    heap[at] = key;
    if (who) who[at] = number;
}

Sim *sim_new(const Model *model, uint64_t seed) {
    Sim *x = calloc(1, sizeof *x);
    x->m = *model;
    for (int i = 0; i < 4; i++) { /* splitmix64 */
        uint64_t z = (seed += 0x9e3779b97f4a7c15ull);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        x->s[i] = z ^ (z >> 31);
    }
    x->heap = calloc(RING + 2, sizeof *x->heap);
    x->who = calloc(RING + 2, sizeof *x->who);
    x->ends = calloc(RING + 2, sizeof *x->ends);
    x->arrival = exponential(x, model->rate);
    x->slow = uniform(x) < model->active;
    if (model->kind == QUEUE)
        for (int i = 0; i < model->slots; i++) push(x->heap, NULL, &x->heaped, 0.0, 0);
    return x;
}

void sim_free(Sim *x) {
    free(x->heap);
    free(x->who);
    free(x->ends);
    free(x);
}

static double slowdown(const Sim *x, int64_t number) {
    const Model *m = &x->m;
    if (m->drift_requests <= 0) return 1.0;
    return 1 + (m->drift - 1) * fmin(1.0, (m->served + number) / m->drift_requests);
}

static int queue_request(Sim *x, double *latency, int32_t *found) { /* a request's length is its service time */
    const Model *m = &x->m;
    x->now = x->arrival;
    x->arrival = x->now + exponential(x, m->rate);
    while (x->ended && x->ends[0] <= x->now) pop(x->ends, NULL, &x->ended);
    if (x->ended >= RING) return 0;
    double start = fmax(x->heap[0], x->now);
    int64_t at = x->reported % RING;
    x->came[at] = x->now;
    x->length[at] = draw(x);
    double end = start + x->length[at] * slowdown(x, x->reported);
    x->left[at] = end;
    pop(x->heap, NULL, &x->heaped);
    push(x->heap, NULL, &x->heaped, end, 0);
    *latency = (m->latency ? start : end) - x->now;
    *found = x->ended;
    push(x->ends, NULL, &x->ended, end, 0);
    return 1;
}

/* All running requests advance alike, so each ends when the common progress has grown by its own length. */
static int engine_request(Sim *x, double *latency, int32_t *found) {
    const Model *m = &x->m;
    while (x->reported == x->arrived || x->left[x->reported % RING] < 0) {
        double step = m->step + m->per_request * x->heaped;
        double end = x->heaped ? x->now + (x->heap[0] - x->progress) * step : INFINITY;
        if (x->arrival <= end) {
            if (x->arrived - x->reported >= RING) return 0;
            x->progress += (x->arrival - x->now) / step;
            x->now = x->arrival;
            x->arrival = x->now + exponential(x, m->rate);
            int64_t at = x->arrived % RING;
            x->found[at] = x->heaped + (int32_t)(x->arrived - x->started);
            x->came[at] = x->now;
            x->left[at] = -1;
            x->arrived++;
        } else {
            x->progress += (end - x->now) / step;
            x->now = end;
            int64_t at = x->who[0] % RING;
            pop(x->heap, x->who, &x->heaped);
            x->left[at] = x->now;
            if (!m->latency) x->latency[at] = x->now - x->came[at];
            if (m->latency == 2) x->latency[at] = (x->now - x->first[at]) / fmax(1, x->length[at] - 1);
        }
        while (x->started < x->arrived && x->heaped < m->slots) {
            int64_t number = x->started++;
            double factor = slowdown(x, number), prefill = gauss(x, m->prefill, m->prefill_sd) * factor;
            double length = prefill / (m->step + m->per_request * (x->heaped + 1));
            if (x->heaped) x->progress -= length; /* the others stand still meanwhile */
            x->length[number % RING] = draw(x);
            double ahead = x->length[number % RING] * factor + length;
            push(x->heap, x->who, &x->heaped, x->progress + ahead, number);
            if (m->latency == 1) x->latency[number % RING] = x->now - x->came[number % RING] + prefill;
            x->first[number % RING] = x->now + prefill;
        }
    }
    *latency = x->latency[x->reported % RING];
    *found = x->found[x->reported % RING];
    return 1;
}

static int share_request(Sim *x, double *latency, int32_t *found) {
    const Model *m = &x->m;
    if (uniform(x) < 1 / m->burst) x->slow = uniform(x) < m->active;
    *latency = x->slow && uniform(x) < m->miss ? 2.0 : 0.1;
    *found = (int32_t)m->rate;
    return 1;
}

/* Fills in the next requests in the order of arrival. Returns fewer than asked if the server is saturated. */
int64_t sim_run(Sim *x, int64_t requests, double *latencies, int32_t *found, double *came, double *lengths,
                double *left) {
    for (int64_t i = 0; i < requests; i++) {
        int kind = x->m.kind;
        int ok = kind == QUEUE    ? queue_request(x, latencies + i, found + i)
                 : kind == ENGINE ? engine_request(x, latencies + i, found + i)
                                  : share_request(x, latencies + i, found + i);
        if (!ok) return i;
        if (x->m.served + x->reported < x->m.cold_requests) latencies[i] *= x->m.cold;
        int64_t at = x->reported % RING;
        came[i] = x->came[at];
        lengths[i] = x->length[at];
        left[i] = x->left[at];
        x->reported++;
    }
    return requests;
}

/* autotuner.capacity.twin.model, with inputs and outputs of each request; a hundred times as fast. */
void twin_run(double step, double per_request, double prefill, double slots, int latency, int64_t count,
              const double *came, const double *inputs, const double *outputs, double *latencies) {
    double *heap = calloc(count + 2, sizeof *heap), *firsts = calloc(count + 2, sizeof *firsts), now = 0, progress = 0;
    int64_t *who = calloc(count + 2, sizeof *who), arrived = 0, started = 0;
    int heaped = 0;
    while (arrived < count || heaped || started < arrived) {
        double pace = step + per_request * heaped;
        double end = heaped ? now + (heap[0] - progress) * pace : INFINITY;
        if (arrived < count && came[arrived] < end) {
            if (heaped) progress += (came[arrived] - now) / pace;
            now = came[arrived++];
        } else {
            progress = heap[0];
            now = end;
            int64_t number = who[0];
            pop(heap, who, &heaped);
            if (!latency) latencies[number] = now - came[number];
            if (latency == 2) latencies[number] = outputs[number] > 1 ? (now - firsts[number]) / outputs[number] : 0;
        }
        while (started < arrived && heaped < slots) {
            int64_t number = started++;
            double alone = prefill * inputs[number], pause = alone / (step + per_request * (heaped + 1));
            if (heaped) progress -= pause;
            push(heap, who, &heaped, progress + outputs[number] + pause, number);
            if (latency == 1) latencies[number] = now - came[number] + alone;
            firsts[number] = now + alone;
        }
    }
    free(heap);
    free(firsts);
    free(who);
}
