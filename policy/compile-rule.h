/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef POLICY_COMPILE_RULE_H
#define POLICY_COMPILE_RULE_H

/* JSON to one rule. Inside policy/ only. All return 0, -EBADMSG with the error set, or -ENOMEM. */

#include "policy/reader.h"
#include "policy/rule.h"

struct compiler {
    struct policy *policy;
    const struct policy_accounts *accounts;
    struct reader reader;
    const char *file; /* its name, as long as the policy lives */
};

int compile_vmm(struct compiler *c, const struct json_node *node, struct rule *rule);
int compile_device(struct compiler *c, const struct json_node *node, struct rule *rule);
int compile_operator(struct compiler *c, const struct json_node *node, struct rule *rule);

/* A range of a device rule, or a reserved one. */
int compile_region(struct compiler *c, const struct json_node *node, bool reserved, struct region_rule *region);

/* What a rule is selected by. Operators are asked over the plain bus, which proves no unit. */
int compile_match(struct compiler *c, const struct json_node *node, bool operator_rule, struct match *match);
int compile_vms(struct compiler *c, const struct json_node *node, struct rule *rule);

#endif
