/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

/*
 * The operator's rules: loaded from JSON, compiled once, asked often.
 *
 * Loading reads files and resolves account names; evaluation is pure: no descriptor, no clock, no global. A struct
 * policy never changes after loading, so it may be asked from any thread. doc/ioregion-policy.5 describes the language.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <ioregion/region.h>
#include "internal/cleanup.h"

struct policy;

/* Dispatchers, as bits. */
#define POLICY_DISPATCH_KERNEL 1u
#define POLICY_DISPATCH_VMM 2u

/* on-disconnect, as bits: 1u << enum ioregion_on_disconnect. */
#define POLICY_ON_DISCONNECT(which) (1u << (which))

/* Who asks. All strings are the caller's. */
struct policy_subject {
    const char *unit; /* the proven systemd unit, NULL when there is none */
    uid_t uid;
    const gid_t *gids; /* primary and supplementary */
    size_t n_gids;
};

/* Limits that no request can pass: as the files set them, else the defaults that doc/ioregion-policy.5 lists. */
struct policy_limits {
    uint64_t vms;
    uint64_t regions_per_vm;
    uint64_t devices_per_unit;
    uint64_t vms_per_user;
    uint64_t register_rate; /* registrations a second and unit (or user, where there is no unit) */
    uint64_t attach_rate;   /* attaches, likewise */
    uint64_t list_rate;     /* rows of lists a second and user */
};

/* The answer. The strings belong to the policy, reason is text of its own. */
struct policy_verdict {
    bool allowed;
    const char *rule;      /* the name of the rule that decided, "default" when none was selected, or "reserved" */
    char reason[256];      /* which value was refused, and what the rule would allow; or why it is allowed */
    uint64_t features;     /* IOREGION_FEATURE_* that the rule allows */
    uint64_t timeout_usec; /* the largest deadline; also what "0" asks for */
    uint64_t grace_usec;
    unsigned on_disconnect; /* POLICY_ON_DISCONNECT() bits; devices only */
    unsigned dispatch;      /* POLICY_DISPATCH_* bits; VMMs only */
};

/* May this subject register that VM? */
struct policy_register {
    const char *vm;
    unsigned dispatch; /* the dispatchers that would do, at least one must be allowed */
};

/* May this subject attach that device? */
struct policy_attach {
    const char *vm;
    const char *device;
    const struct ioregion_region *regions;
    size_t n_regions;
    uint32_t channels;
    uint64_t timeout_usec; /* 0: the rule's */
    enum ioregion_on_disconnect on_disconnect;
    const uint32_t *interrupts;
    size_t n_interrupts;
};

/*
 * How account names become numbers: 0 and the id, -ENOENT or -ENOMEM. NULL for the system's own (getpwnam,
 * getgrnam: no two threads may load with these at once). An unknown name is no load error: its rule can't match, and
 * policy_warnings() says so.
 */
struct policy_accounts {
    int (*user)(const char *name, uid_t *ret_uid);
    int (*group)(const char *name, gid_t *ret_gid);
};

/*
 * Load every *.json of a directory in name order (a missing or empty directory gives a policy that denies
 * everything), or the named files. On failure -EBADMSG (a file is wrong) or another negative errno, and *ret_error is
 * one line "FILE:LINE:COLUMN: what is wrong and what would be right" for the caller to free (NULL with -ENOMEM, when
 * there was no memory for words); nothing else is set.
 */
int policy_load_directory(const char *directory, const struct policy_accounts *accounts, struct policy **ret_policy,
                          char **ret_error);
int policy_load_files(const char *const *files, size_t n_files, const struct policy_accounts *accounts,
                      struct policy **ret_policy, char **ret_error);

/* The same for one text in memory, @name being used in messages: for tests and fuzzing. */
int policy_load_text(const char *name, const char *text, size_t size, const struct policy_accounts *accounts,
                     struct policy **ret_policy, char **ret_error);

struct policy *policy_free(struct policy *policy);
DEFINE_CLEANUP(policy_free, struct policy *);

/* What `policy check` says about a policy that loads: "FILE:LINE:COLUMN: warning", oldest first; NULL past the last. */
const char *policy_warning(const struct policy *policy, size_t index);

const struct policy_limits *policy_limits(const struct policy *policy);

void policy_check_register(const struct policy *policy, const struct policy_subject *subject,
                           const struct policy_register *question, struct policy_verdict *ret_verdict);
void policy_check_attach(const struct policy *policy, const struct policy_subject *subject,
                         const struct policy_attach *question, struct policy_verdict *ret_verdict);

/*
 * Operators match by user or group only: the unit of the subject is ignored. Returns the rule's name, NULL when the
 * subject is none.
 */
const char *policy_operator(const struct policy *policy, const struct policy_subject *subject);

#endif
