/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "folder.h"

int folder_open(const char *path) {
    int fd;

    if (mkdirat(AT_FDCWD, path, 0700) < 0 && errno != EEXIST)
        return -errno;
    fd = openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

static int write_all(int fd, const char *text, size_t size) {
    while (size > 0) {
        ssize_t n = write(fd, text, size);

        if (n < 0)
            return -errno;
        text += n;
        size -= (size_t) n;
    }
    return 0;
}

int folder_write(int folder, const char *name, const char *text, size_t size) {
    _cleanup_(fd_closep) int fd = -1;
    char half[NAME_MAX + 1];
    int r;

    if (snprintf(half, sizeof(half), ".%s", name) >= (int) sizeof(half))
        return -ENAMETOOLONG;
    fd = openat(folder, half, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    r = write_all(fd, text, size);
    if (r >= 0 && renameat(folder, half, folder, name) < 0)
        r = -errno;
    if (r < 0)
        unlinkat(folder, half, 0);
    return r;
}

int folder_read(int folder, const char *name, size_t max, char **ret_text, size_t *ret_size) {
    _cleanup_(fd_closep) int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    _cleanup_(freep) char *text = NULL;
    size_t size = 0;
    struct stat st;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if ((uint64_t) st.st_size > max)
        return -EFBIG;
    text = malloc((size_t) st.st_size + 1);
    if (!text)
        return -ENOMEM;
    while ((n = read(fd, text + size, (size_t) st.st_size - size)) > 0)
        size += (size_t) n;
    if (n < 0)
        return -errno;
    text[size] = '\0';
    *ret_text = STEAL(text);
    *ret_size = size;
    return 0;
}

int folder_remove(int folder, const char *name) {
    return unlinkat(folder, name, 0) < 0 ? -errno : 0;
}

static int is_there(const struct dirent *entry) {
    return entry->d_type == DT_REG;
}

int folder_each(int folder, int (*function)(const char *name, void *userdata), void *userdata) {
    struct dirent **entries;
    int n = scandirat(folder, ".", &entries, is_there, alphasort), r = 0;

    if (n < 0)
        return -errno;
    for (int i = 0; i < n; i++) {
        if (entries[i]->d_name[0] == '.')
            unlinkat(folder, entries[i]->d_name, 0);
        else if (r >= 0)
            r = function(entries[i]->d_name, userdata);
        free(entries[i]);
    }
    free(entries);
    return r < 0 ? r : 0;
}
