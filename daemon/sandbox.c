/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the daemon gives up, and when.
 *
 * Whoever breaks into this process holds the leases and channels of every guest on the host. That can't be helped: it
 * is what the process is for. What can be helped is everything else: it must not be able to become another user, open
 * a network connection, start a program, or ask the kernel for anything that the broker does not ask for. Two things
 * make that cheap: nothing here ever needs a privilege, for identities are proven on sockets and descriptors come
 * from the clients; and the calls that it makes are few, and known.
 *
 * So, in stages, each of which can't be undone:
 *
 *  1. sandbox_become(): the capability bounding set goes, which needs a privilege; then we become an account of our
 *     own. This is before the bus is connected, so that the bus sees that account and none else.
 *  2. sandbox_drop_capabilities(): all sets are emptied, and looked at again: a daemon that still has a capability
 *     does not start. No-new-privileges, so that no program file can bring them back; not dumpable, so that nobody of
 *     the same account can attach a debugger or read our descriptors from /proc.
 *  3. sandbox_filter_calls(): the table in sandbox-calls.c, default: kill. Account look-ups may load libraries, which
 *     the filter does not allow, so they are made to happen before; those that nsswitch.conf names later can't be
 *     loaded, and what libraries then try is refused without an end to it all.
 *
 * Started by systemd with User= and an empty CapabilityBoundingSet=, the first two find nothing left to do, and check.
 */

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <syslog.h>

#include "internal/cleanup.h"
#include "journal.h"
#include "sandbox-calls.h"
#include "sandbox.h"

int sandbox_filter_from_name(const char *name) {
    static const char *const names[] = {[SANDBOX_KILL] = "kill", [SANDBOX_LOG] = "log", [SANDBOX_OFF] = "off"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcmp(names[i], name) == 0)
            return (int) i;
    return -EINVAL;
}

/* Without CAP_SETPCAP it can't be done, and no-new-privileges makes the set meaningless. */
static int drop_bounding_set(void) {
    if (capng_get_caps_process() < 0)
        return -EIO;
    if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
        return 0;
    capng_clear(CAPNG_SELECT_BOUNDS);
    if (capng_apply(CAPNG_SELECT_BOUNDS) < 0)
        return -EPERM;
    if (capng_get_caps_process() < 0 || capng_have_capabilities(CAPNG_SELECT_BOUNDS) != CAPNG_NONE)
        return -EPERM;
    return 0;
}

int sandbox_become(const char *user) {
    const struct passwd *account;
    int r;

    r = drop_bounding_set();
    if (r < 0 || !user)
        return r;
    errno = 0;
    account = getpwnam(user);
    if (!account)
        return errno ? -errno : -ESRCH;
    if (initgroups(user, account->pw_gid) < 0 || setresgid(account->pw_gid, account->pw_gid, account->pw_gid) < 0 ||
        setresuid(account->pw_uid, account->pw_uid, account->pw_uid) < 0)
        return -errno;
    return 0;
}

static int has_capabilities(void) {
    if (capng_get_caps_process() < 0)
        return -EIO;
    return capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE ||
           capng_have_capabilities(CAPNG_SELECT_AMBIENT) != CAPNG_NONE;
}

int sandbox_drop_capabilities(void) {
#if defined(SANITIZED)
    const int dumpable = 1; /* the leak check reads /proc/self */
#else
    const int dumpable = 0;
#endif
    int r;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0) < 0)
        return -errno;
    r = has_capabilities();
    if (r <= 0) /* there may be a filter already that has no room for capset() */
        return r;
    capng_clear(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT);
    if (capng_apply(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT) < 0)
        return -EPERM;
    r = has_capabilities();
    return r > 0 ? -EPERM : r;
}

/* Whoever nobody knows of has to be asked for at every service that there is: all of their libraries are loaded. */
static void load_account_services(void) {
    getpwuid((uid_t) -2);
    getpwnam("no-such-user");
    getgrnam("no-such-group");
}

static void filter_freep(scmp_filter_ctx *filter) {
    if (*filter)
        seccomp_release(*filter);
}

int sandbox_filter_calls(enum sandbox_filter mode) {
    _cleanup_(filter_freep) scmp_filter_ctx filter = NULL;
    int r;

    if (mode == SANDBOX_OFF)
        return 0;
    load_account_services();
    filter = seccomp_init(mode == SANDBOX_LOG ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return -ENOMEM;
    for (size_t i = 0; i < sandbox_n_calls; i++) {
        const struct sandbox_call *call = &sandbox_calls[i];

        if (call->error && mode == SANDBOX_LOG)
            continue;
        r = seccomp_rule_add_array(filter, call->error ? SCMP_ACT_ERRNO(call->error) : SCMP_ACT_ALLOW, call->number,
                                   call->n_arguments, call->arguments);
        if (r < 0) {
            journal_log(LOG_ERR, "seccomp: line %zu of the table: %s", i, strerrordesc_np(-r));
            return r;
        }
    }
    /* frequent calls first, by a binary tree */
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    return seccomp_load(filter);
}
