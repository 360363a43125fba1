/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "module.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tap.h"

int module_load(const char *name) {
    char path[128];
    int fd, r;

    snprintf(path, sizeof(path), "/modules/%s.ko", name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    r = syscall(SYS_finit_module, fd, "", 0) < 0 ? -errno : 0;
    close(fd);
    return r;
}

int module_unload(const char *name) {
    return syscall(SYS_delete_module, name, O_NONBLOCK) < 0 ? -errno : 0;
}

int module_references(const char *name) {
    char path[128];
    int count = -1;
    FILE *file;

    snprintf(path, sizeof(path), "/sys/module/%s/refcnt", name);
    file = fopen(path, "re");
    if (!file)
        return -1;
    if (fscanf(file, "%d", &count) != 1)
        count = -1;
    fclose(file);
    return count;
}

/* Within a while: a handle that is closed leaves its bus a moment later. */
int references_fall_to(const char *name, int references) {
    for (unsigned i = 0; i < 500 && module_references(name) != references; i++)
        usleep(10000);
    return module_references(name);
}

int module_set(const char *name, const char *parameter, const char *value) {
    char path[128];
    FILE *file;
    int r;

    snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", name, parameter);
    file = fopen(path, "we");
    if (!file)
        return -errno;
    r = fputs(value, file) < 0 ? -errno : 0;
    return fclose(file) < 0 ? -errno : r;
}

static FILE *open_in(const char *folder, const char *name, const char *mode) {
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return fopen(path, mode);
}

/* All objects of a page count as taken while it is some CPU's own, so the CPUs give theirs back first. */
static long count_in(const char *cache) {
    FILE *shrink = open_in(cache, "shrink", "we"), *objects = open_in(cache, "objects", "re");
    long count = 0;

    REQUIRE(shrink && objects);
    fputs("1", shrink);
    fflush(shrink);
    REQUIRE(fscanf(objects, "%ld", &count) == 1);
    fclose(objects);
    fclose(shrink);
    return count;
}

/* But for those of 8 bytes, of which counting itself takes some, and the module none. */
static long count_objects(const char *size) {
    char pattern[128];
    glob_t caches;
    long count = 0;

    snprintf(pattern, sizeof(pattern), "/sys/kernel/slab/kmalloc-*%s*", size);
    REQUIRE(glob(pattern, 0, NULL, &caches) == 0);
    for (size_t i = 0; i < caches.gl_pathc; i++)
        if (fnmatch("*-8", caches.gl_pathv[i], 0) != 0)
            count += count_in(caches.gl_pathv[i]);
    globfree(&caches);
    return count;
}

long kmalloc_objects(const char *size) {
    long least = LONG_MAX;

    for (unsigned i = 0; i < 20; i++) {
        long count = count_objects(size);

        least = count < least ? count : least;
        usleep(100000);
    }
    return least;
}

void check_kmalloc_objects(const char *size, long before, long allowed) {
    long after = kmalloc_objects(size);

    if (after > before + allowed)
        after = kmalloc_objects(size);
    printf("# kmalloc objects %ld, then %ld\n", before, after);
    CHECK(after <= before + allowed || access(KMEMLEAK, F_OK) == 0);
}
