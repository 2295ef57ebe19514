/* A libnvidia-ml.so.1 for machines without GPUs: it answers what the file named by NVML_STUB says at the moment.
 *
 * One fact a line: "driver 570.1", "gpus 4", "code init 9" or "code count 1" (what these calls return),
 * "code I 15" (every call for GPU I), "sensors I 15" (its sensors only), "lacks I power" (a sensor that GPU I has not), "mig I", "used I MIB",
 * "process I PID MIB", "drawing I PID MIB", "power I MILLIWATT". Each initialization adds a line to the file's
 * neighbor NVML_STUB.inits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, UNINITIALIZED = 1, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };

typedef struct { unsigned index; } Device;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory2;
typedef struct { unsigned gpu, memory; } Utilization;

static Device devices[16];
static int initialized;

static FILE *facts(void) { return fopen(getenv("NVML_STUB"), "r"); }

/* The number at the end of the first line that begins with these words. */
static int number(const char *words, long long *value) {
    FILE *file = facts();
    char line[256];
    int found = 0;
    size_t length = strlen(words);
    while (!found && fgets(line, sizeof line, file))
        if (!strncmp(line, words, length) && (line[length] == ' ' || line[length] == '\n')) {
            *value = atoll(line + length);
            found = 1;
        }
    fclose(file);
    return found;
}

static long long number_or(const char *words, long long otherwise) {
    number(words, &otherwise);
    return otherwise;
}

static int code(const Device *device) {
    char words[32];
    if (!initialized) return UNINITIALIZED;
    sprintf(words, "code %u", device->index);
    return (int)number_or(words, OK);
}

static int sensor(const Device *device, const char *name) {
    char words[64];
    long long ignored;
    int returned = code(device);
    sprintf(words, "lacks %u %s", device->index, name);
    if (returned || number(words, &ignored)) return returned ? returned : NOT_SUPPORTED;
    sprintf(words, "sensors %u", device->index);
    return (int)number_or(words, OK);
}

static long long of(const Device *device, const char *what, long long otherwise) {
    char words[64];
    sprintf(words, "%s %u", what, device->index);
    return number_or(words, otherwise);
}

int nvmlInitWithFlags(unsigned flags) {
    char path[4096];
    int returned = (int)number_or("code init", OK);
    FILE *file;
    (void)flags;
    sprintf(path, "%s.inits", getenv("NVML_STUB"));
    file = fopen(path, "a");
    fprintf(file, "%d\n", returned);
    fclose(file);
    initialized = returned == OK;
    return returned;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { initialized = 0; return OK; }
const char *nvmlErrorString(int returned) { return returned == 77 ? "stub error" : "error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    FILE *file = facts();
    char line[256] = "";
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, "driver ", 7)) break;
    fclose(file);
    line[strcspn(line, "\n")] = 0;
    snprintf(text, length, "%s", strlen(line) > 7 ? line + 7 : "");
    return OK;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    int returned = (int)number_or("code count", OK);
    if (!initialized) return UNINITIALIZED;
    *count = (unsigned)number_or("gpus", 0);
    return returned;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    devices[index].index = index;
    *device = &devices[index];
    return code(*device);
}

int nvmlDeviceGetUUID(Device *device, char *text, unsigned length) {
    snprintf(text, length, "GPU-%08u-stub", device->index);
    return code(device);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Device **device) {
    unsigned index;
    if (sscanf(uuid, "GPU-%8u-stub", &index) != 1) return NOT_FOUND;
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

int nvmlDeviceGetName(Device *device, char *text, unsigned length) {
    snprintf(text, length, "Stub H100");
    return code(device);
}

int nvmlDeviceGetMemoryInfo_v2(Device *device, Memory2 *memory) {
    memory->total = 80ULL << 30;
    memory->reserved = 1ULL << 30;
    memory->used = (unsigned long long)of(device, "used", 0) << 20;
    memory->free = memory->total - memory->used - memory->reserved;
    return sensor(device, "memory");
}

int nvmlDeviceGetUtilizationRates(Device *device, Utilization *busy) {
    busy->gpu = 25;
    busy->memory = 5;
    return sensor(device, "utilization");
}

int nvmlDeviceGetPowerUsage(Device *device, unsigned *milliwatt) {
    *milliwatt = (unsigned)of(device, "power", 350500);
    return sensor(device, "power");
}

int nvmlDeviceGetTemperature(Device *device, int which, unsigned *celsius) {
    *celsius = which == 0 ? 61 : 0;
    return sensor(device, "temperature");
}

int nvmlDeviceGetClockInfo(Device *device, int which, unsigned *mhz) {
    *mhz = which == 1 ? 1980 : 2619;
    return sensor(device, "clock");
}

int nvmlDeviceGetTotalEnergyConsumption(Device *device, unsigned long long *millijoule) {
    *millijoule = 1234500;
    return sensor(device, "energy");
}

int nvmlDeviceGetMigMode(Device *device, unsigned *current, unsigned *pending) {
    long long ignored;
    char words[32];
    sprintf(words, "mig %u", device->index);
    *current = *pending = (unsigned)number(words, &ignored);
    return code(device);
}

static int processes(const Device *device, const char *kind, unsigned *room, Process *found) {
    FILE *file;
    char line[256], word[32];
    unsigned index, pid, count = 0;
    long long mib;
    if (code(device)) return code(device);
    file = facts();
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%31s %u %u %lld", word, &index, &pid, &mib) == 4 && !strcmp(word, kind) &&
            index == device->index) {
            if (found && count < *room) {
                found[count].pid = pid;
                found[count].used = mib < 0 ? ~0ULL : (unsigned long long)mib << 20;
            }
            count++;
        }
    fclose(file);
    if (count && (!found || count > *room)) { *room = count; return INSUFFICIENT_SIZE; }
    *room = count;
    return OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(Device *d, unsigned *room, Process *found) {
    return processes(d, "process", room, found);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(Device *d, unsigned *room, Process *found) {
    return processes(d, "drawing", room, found);
}
