/* Preloaded into a process to slow down or fail its writes to the files of a store.
 *
 * Files in the folder DISK select the fault, checked at each call: "slow" contains the milliseconds that a sync takes,
 * "broken" makes every sync fail, "full" every write. Affected are only SQLite's files (names with ".db") and the
 * write-ahead log of PostgreSQL.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int fault_is_set(const char *what, long *number) {
    char path[4096];
    const char *folder = getenv("DISK");
    if (!folder || snprintf(path, sizeof path, "%s/%s", folder, what) >= (int)sizeof path)
        return 0;
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    if (number && fscanf(file, "%ld", number) != 1)
        *number = 0;
    fclose(file);
    return 1;
}

static int is_store_file(int descriptor) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, ".db") != NULL || strstr(path, "/pg_wal/") != NULL;
}

int fdatasync(int descriptor) {
    static int (*real)(int);
    long milliseconds = 0;
    if (!real)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (is_store_file(descriptor)) {
        if (fault_is_set("broken", NULL)) {
            errno = EIO;
            return -1;
        }
        if (fault_is_set("slow", &milliseconds)) {
            struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
            nanosleep(&pause, NULL);
        }
    }
    return real(descriptor);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real)
        real = (ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    if (is_store_file(descriptor) && fault_is_set("full", NULL)) {
        errno = ENOSPC;
        return -1;
    }
    return real(descriptor, bytes, count, offset);
}

/* The same function by the name that a program built without large-file macros calls. */
ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
    return pwrite64(descriptor, bytes, count, offset);
}
