/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Files to texts, and the life of a policy. */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "policy/json-scan.h"
#include "policy/rule.h"

static struct policy *policy_new(void) {
    struct policy *policy = calloc(1, sizeof(*policy));

    if (policy)
        policy->limits = DEFAULT_LIMITS;
    return policy;
}

struct policy *policy_free(struct policy *policy) {
    if (!policy)
        return NULL;
    list_clear(&policy->vmms);
    list_clear(&policy->devices);
    list_clear(&policy->operators);
    list_clear(&policy->reserved);
    list_clear(&policy->warnings);
    pool_clear(&policy->pool);
    free(policy);
    return NULL;
}

/* The file can't be had: its error goes up as it is, in words that name it. */
static int fail_file(char **ret_error, const char *path, int error) {
    int r = fail_at(ret_error, (struct place){path, 1, 1}, "can't be read: %s; it must be a readable regular file",
                    strerror(-error));

    return r == -ENOMEM ? r : error;
}

/* Read all of an open file, of which one byte more than a text may have is enough to refuse it. */
static ssize_t read_whole(int fd, char *buffer) {
    size_t size = 0;

    while (size <= JSON_SIZE_MAX) {
        ssize_t n = read(fd, buffer + size, JSON_SIZE_MAX + 1 - size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        size += (size_t) n;
    }
    return (ssize_t) size;
}

static int load_file(struct policy *policy, const char *path, const struct policy_accounts *accounts,
                     char **ret_error) {
    _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    _cleanup_(freep) char *buffer = NULL;
    struct stat st;
    ssize_t size;

    if (fd < 0 || fstat(fd, &st) < 0)
        return fail_file(ret_error, path, -errno);
    if (!S_ISREG(st.st_mode))
        return fail_file(ret_error, path, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL);
    buffer = malloc(JSON_SIZE_MAX + 1);
    if (!buffer)
        return -ENOMEM;
    size = read_whole(fd, buffer);
    if (size < 0)
        return fail_file(ret_error, path, (int) size);
    return policy_compile(policy, path, buffer, (size_t) size, accounts, ret_error);
}

int policy_load_files(const char *const *files, size_t n_files, const struct policy_accounts *accounts,
                      struct policy **ret_policy, char **ret_error) {
    _cleanup_(policy_freep) struct policy *policy = policy_new();
    int r = 0;

    *ret_error = NULL;
    if (!policy)
        return -ENOMEM;
    for (size_t i = 0; r >= 0 && i < n_files; i++)
        r = load_file(policy, files[i], accounts, ret_error);
    if (r >= 0)
        r = policy_finish(policy, ret_error);
    if (r < 0)
        return r;
    *ret_policy = STEAL(policy);
    return 0;
}

int policy_load_text(const char *name, const char *text, size_t size, const struct policy_accounts *accounts,
                     struct policy **ret_policy, char **ret_error) {
    _cleanup_(policy_freep) struct policy *policy = policy_new();
    int r;

    *ret_error = NULL;
    if (!policy)
        return -ENOMEM;
    r = policy_compile(policy, name, text, size, accounts, ret_error);
    if (r >= 0)
        r = policy_finish(policy, ret_error);
    if (r < 0)
        return r;
    *ret_policy = STEAL(policy);
    return 0;
}

static int is_policy_file(const struct dirent *entry) {
    size_t size = strlen(entry->d_name);

    return entry->d_name[0] != '.' && size > 5 && !strcmp(entry->d_name + size - 5, ".json");
}

/* By bytes: the same order under every locale. */
static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

int policy_load_directory(const char *directory, const struct policy_accounts *accounts, struct policy **ret_policy,
                          char **ret_error) {
    struct dirent **entries = NULL;
    struct list paths = {0};
    struct pool pool = {0};
    int n, r = 0;

    *ret_error = NULL;
    n = scandir(directory, &entries, is_policy_file, by_name);
    if (n < 0 && errno != ENOENT)
        return fail_file(ret_error, directory, -errno);
    for (int i = 0; i < n; i++) {
        size_t size = strlen(directory) + strlen(entries[i]->d_name) + 2;
        char *path = r < 0 ? NULL : pool_alloc(&pool, size, 1);

        if (path) {
            snprintf(path, size, "%s/%s", directory, entries[i]->d_name);
            r = list_append(&paths, path);
        } else
            r = -ENOMEM;
        free(entries[i]);
    }
    free(entries);
    if (r >= 0)
        r = policy_load_files((const char *const *) paths.items, paths.n, accounts, ret_policy, ret_error);
    list_clear(&paths);
    pool_clear(&pool);
    return r;
}

const char *policy_warning(const struct policy *policy, size_t index) {
    return index < policy->warnings.n ? policy->warnings.items[index] : NULL;
}

const struct policy_limits *policy_limits(const struct policy *policy) {
    return &policy->limits;
}
