/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Does a rule speak of this subject and this VM? Pure. */

#include <string.h>

#include "policy/rule.h"

bool match_accounts(const struct match *match, const struct policy_subject *subject) {
    bool in_group = !match->has_group;

    if (match->never || (match->has_user && match->uid != subject->uid))
        return false;
    for (size_t i = 0; !in_group && i < subject->n_gids; i++)
        in_group = subject->gids[i] == match->gid;
    return in_group;
}

bool rule_selected(const struct rule *rule, const struct policy_subject *subject, const char *vm, const char *device) {
    const struct match *match = &rule->match;
    struct binding binding = {0};

    if (!match_accounts(match, subject))
        return false;
    if (match->has_unit) {
        if (!subject->unit || !unit_pattern_match(&match->unit, subject->unit, &binding))
            return false;
        if (match->unit.has_vm && strcmp(binding.vm, vm))
            return false;
        if (match->unit.has_device && (!device || strcmp(binding.device, device)))
            return false;
    }
    for (size_t i = 0; i < rule->n_vms; i++)
        if (vm_pattern_match(&rule->vms[i], &binding, vm))
            return true;
    return false;
}
