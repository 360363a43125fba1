/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "policy-command.h"

void policy_print_message(const char *message) {
    _cleanup_(freep) char *escaped = text_escape(message);

    fprintf(stderr, "%s\n", escaped ? escaped : "out of memory");
}

enum status policy_open(char **paths, size_t n_paths, struct policy **ret_policy) {
    _cleanup_(freep) char *error = NULL;
    struct stat status;
    int r;

    for (size_t i = 0; i < n_paths; i++) {
        if (stat(paths[i], &status) < 0) {
            complain("%s: %s", paths[i], strerror(errno));
            return STATUS_FAILED;
        }
        if (S_ISDIR(status.st_mode) && n_paths > 1) {
            complain("%s: give one directory, or any number of files", paths[i]);
            return STATUS_USAGE;
        }
    }
    if (n_paths == 0)
        r = policy_load_directory(POLICY_DIRECTORY, NULL, ret_policy, &error);
    else if (S_ISDIR(status.st_mode))
        r = policy_load_directory(paths[0], NULL, ret_policy, &error);
    else
        r = policy_load_files((const char *const *) paths, n_paths, NULL, ret_policy, &error);
    if (r >= 0)
        return STATUS_OK;
    policy_print_message(error ? error : strerror(-r));
    return STATUS_FAILED;
}
