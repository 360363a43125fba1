/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "bus-value.h"
#include "journal.h"
#include "reload.h"

static void tell_manager_reloading(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
               (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000);
}

/* What systemctl status shows. The mistake is one line, and has no control characters. */
void tell_manager_ready(const struct broker *broker, const char *mistake) {
    sd_notifyf(0, "READY=1\nSTATUS=Policy generation %" PRIu64 " is in force%s%s", broker->policy_generation,
               mistake ? "; there is a newer one with a mistake: " : "", mistake ?: "");
}

static void log_warnings(const struct policy *policy) {
    const char *warning;

    for (size_t i = 0; (warning = policy_warning(policy, i)); i++)
        journal_log(LOG_WARNING, "%s", warning);
}

int load_policy(const char *directory, struct policy **ret_policy, char **ret_error) {
    int r = policy_load_directory(directory, NULL, ret_policy, ret_error);

    if (r < 0)
        journal_log(LOG_ERR, "policy: %s", *ret_error ? *ret_error : strerrordesc_np(-r));
    else
        log_warnings(*ret_policy);
    return r;
}

static int replace_policy(struct broker *broker, const char *directory, bool revoke, char **ret_error) {
    struct policy *policy;
    size_t kept, revoked;
    char text[128];
    int r;

    r = load_policy(directory, &policy, ret_error);
    if (r >= 0)
        r = broker_set_policy(broker, policy, revoke, &kept, &revoked);
    if (r < 0)
        return r;
    snprintf(text, sizeof(text), "policy generation %" PRIu64 ", %zu grants that it would not give are %s",
             broker->policy_generation, kept + revoked, revoke ? "revoked" : "kept");
    audit(AUDIT_RELOAD, &(struct audit_record){.reason = text, .uid = (uid_t) -1});
    return 0;
}

int reload(struct broker *broker, const char *directory, bool revoke, char **ret_error) {
    int r;

    *ret_error = NULL;
    user_names_forget();
    tell_manager_reloading();
    r = replace_policy(broker, directory, revoke, ret_error);
    tell_manager_ready(broker, *ret_error);
    return r;
}
