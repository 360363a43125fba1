/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "module.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

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

long kmalloc_objects(const char *size) {
    FILE *file = fopen("/proc/slabinfo", "re");
    char line[512], name[64];
    long total = 0, active;

    if (!file)
        return -1;
    while (fgets(line, sizeof(line), file))
        if (sscanf(line, "%63s %ld", name, &active) == 2 && strncmp(name, "kmalloc-", 8) == 0 && strstr(name, size))
            total += active;
    fclose(file);
    return total;
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
