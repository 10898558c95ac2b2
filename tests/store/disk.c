/* A disk under our control, loaded before libc (LD_PRELOAD): every fdatasync and fsync appends one byte to the file
 * DISK_LOG, and takes DISK_STALL_MS longer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int synced(const char *name, int file)
{
    static int log = -2;
    static long stall_ms;
    if (log == -2) {
        const char *path = getenv("DISK_LOG"), *stall = getenv("DISK_STALL_MS");
        stall_ms = stall ? atol(stall) : 0;
        log = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    }
    struct timespec pause = {stall_ms / 1000, stall_ms % 1000 * 1000000};
    if (stall_ms) nanosleep(&pause, NULL);
    if (log >= 0 && write(log, ".", 1) != 1) abort();
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(file);
}

int fdatasync(int file) { return synced("fdatasync", file); }
int fsync(int file) { return synced("fsync", file); }
