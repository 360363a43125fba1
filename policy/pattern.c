/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include "policy/pattern.h"

#define VM "${vm}"
#define DEVICE "${device}"

static bool has_wildcard(const char *text) {
    return strpbrk(text, "*?[");
}

bool glob_is_open(const char *glob) {
    return *glob && !glob[strspn(glob, "*")];
}

/* The bytes of the placeholder that @text begins with, 0 when it begins with none. */
static size_t placeholder(const char *text) {
    if (!strncmp(text, VM, strlen(VM)))
        return strlen(VM);
    return strncmp(text, DEVICE, strlen(DEVICE)) ? 0 : strlen(DEVICE);
}

static const char *check_text(const char *text) {
    if (!*text)
        return "an empty pattern matches nothing; \"*\" matches everything";
    if (strlen(text) > PATTERN_MAX)
        return "the pattern is too long; 255 bytes are the most";
    for (const char *c = strstr(text, "${"); c; c = strstr(c + 1, "${"))
        if (!placeholder(c))
            return "unknown placeholder; ${vm} and ${device} are known";
    return NULL;
}

/* Cut half a pattern into literals and placeholders. */
static int compile_half(struct pool *pool, const char *text, size_t size, struct pattern_half *half,
                        const char **ret_problem) {
    char *copy = pool_strndup(pool, text, size);
    size_t length;

    if (!copy)
        return -ENOMEM;
    *half = (struct pattern_half){.glob = copy, .literal = {copy, "", ""}};
    for (char *c = copy; *c; c++) {
        length = placeholder(c);
        if (!length)
            continue;
        *ret_problem = "each placeholder may stand once on either side of the '@'";
        if (half->n_names == 2 || (half->n_names == 1 && half->names[0] == c[2]))
            return -EINVAL;
        half->glob = NULL;
        half->names[half->n_names++] = c[2];
        half->literal[half->n_names] = c + length;
        *c = '\0';
        c += length - 1;
    }
    if (half->glob)
        return 0;
    *ret_problem = "a wildcard beside a placeholder could let a unit pass for another VM's; "
                   "use wildcards on the other side of the '@', or none";
    for (size_t i = 0; i <= half->n_names; i++)
        if (has_wildcard(half->literal[i]))
            return -EINVAL;
    *ret_problem = "${vm} and ${device} need a ':' between them, since names may hold any other separator";
    return half->n_names == 2 && !strchr(half->literal[1], ':') ? -EINVAL : 0;
}

/* What every unit that matches begins with. */
static size_t literal_prefix(const char *text) {
    size_t size = strcspn(text, "*?[");
    const char *first = strstr(text, "${");

    return first && (size_t) (first - text) < size ? (size_t) (first - text) : size;
}

int unit_pattern_compile(struct pool *pool, const char *text, struct unit_pattern *ret_pattern,
                         const char **ret_problem) {
    struct unit_pattern p = {.text = text, .prefix = literal_prefix(text)};
    size_t cut = strcspn(text, "@");
    int r;

    *ret_problem = check_text(text);
    if (*ret_problem)
        return -EINVAL;
    *ret_problem = "a unit's name ends in its type; write for example ${vm}.service";
    if (strstr(text, "${") && text[strlen(text) - 1] == '}')
        return -EINVAL;
    p.has_vm = strstr(text, VM);
    p.has_device = strstr(text, DEVICE);
    p.has_at = text[cut];
    /* A pattern without placeholders is one glob, whose wildcards may well stand for an '@'. */
    if (!p.has_vm && !p.has_device)
        cut = strlen(text);
    r = compile_half(pool, text, cut, &p.halves[0], ret_problem);
    if (r >= 0 && text[cut])
        r = compile_half(pool, text + cut + 1, strlen(text + cut + 1), &p.halves[1], ret_problem);
    if (r < 0)
        return r;
    *ret_pattern = p;
    return 0;
}

/* Undo systemd's escapes in @size bytes; false when that gives no valid name. */
static bool unescape(const char *text, size_t size, char *ret_name) {
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;

    for (size_t i = 0; i < size; i++, n++) {
        const char *high, *low;

        if (n == NAME_LENGTH_MAX)
            return false;
        ret_name[n] = text[i];
        if (text[i] != '\\')
            continue;
        if (size - i < 4 || text[i + 1] != 'x')
            return false;
        high = memchr(digits, text[i + 2], 16);
        low = memchr(digits, text[i + 3], 16);
        if (!high || !low)
            return false;
        ret_name[n] = (char) ((high - digits) << 4 | (low - digits));
        i += 3;
    }
    ret_name[n] = '\0';
    return strlen(ret_name) == n && name_is_valid(ret_name);
}

/* One name may be bound twice, on both sides of the '@': to the same value. */
static bool bind(struct binding *binding, char which, const char *text, size_t size) {
    char *slot = which == 'v' ? binding->vm : binding->device;
    char name[NAME_LENGTH_MAX + 1];

    if (!unescape(text, size, name) || (*slot && strcmp(slot, name)))
        return false;
    strcpy(slot, name);
    return true;
}

static bool match_half(const struct pattern_half *half, const char *text, struct binding *binding) {
    size_t size = strlen(text), head = strlen(half->literal[0]), tail = strlen(half->literal[half->n_names]);
    const char *middle;

    if (half->glob)
        return !fnmatch(half->glob, text, FNM_NOESCAPE);
    if (size < head + tail || strncmp(text, half->literal[0], head) ||
        strcmp(text + size - tail, half->literal[half->n_names]))
        return false;
    text += head;
    size -= head + tail;
    if (half->n_names == 1)
        return bind(binding, half->names[0], text, size);
    middle = memmem(text, size, half->literal[1], strlen(half->literal[1]));
    if (!middle || !bind(binding, half->names[0], text, (size_t) (middle - text)))
        return false;
    size -= (size_t) (middle - text) + strlen(half->literal[1]);
    return bind(binding, half->names[1], middle + strlen(half->literal[1]), size);
}

/* The parts of a template's instance: between the first '@' and the last '.', cut at the first ':'. */
static struct binding bind_instance(const char *unit) {
    const char *at = strchr(unit, '@'), *dot = strrchr(unit, '.'), *colon;
    struct binding binding = {0};

    if (!at || !dot || dot < at)
        return binding;
    at++;
    colon = memchr(at, ':', (size_t) (dot - at));
    if (!unescape(at, (size_t) ((colon ? colon : dot) - at), binding.vm) ||
        (colon && !unescape(colon + 1, (size_t) (dot - colon - 1), binding.device)))
        return (struct binding){0};
    return binding;
}

bool unit_pattern_match(const struct unit_pattern *pattern, const char *unit, struct binding *ret_binding) {
    size_t length = strlen(unit), cut = strcspn(unit, "@");
    struct binding binding = {0}, instance;
    char half[PATTERN_MAX + 1];

    if (length > PATTERN_MAX)
        return false;
    if (!pattern->has_vm && !pattern->has_device) {
        if (!match_half(&pattern->halves[0], unit, &binding))
            return false;
    } else {
        if (pattern->has_at != !!unit[cut])
            return false;
        memcpy(half, unit, cut);
        half[cut] = '\0';
        if (!match_half(&pattern->halves[0], half, &binding) ||
            (unit[cut] && !match_half(&pattern->halves[1], unit + cut + 1, &binding)))
            return false;
    }
    instance = bind_instance(unit);
    if (!pattern->has_vm)
        memcpy(binding.vm, instance.vm, NAME_LENGTH_MAX + 1);
    if (!pattern->has_device)
        memcpy(binding.device, instance.device, NAME_LENGTH_MAX + 1);
    *ret_binding = binding;
    return true;
}

int vm_pattern_compile(const char *text, struct vm_pattern *ret_pattern, const char **ret_problem) {
    *ret_problem = check_text(text);
    if (*ret_problem)
        return -EINVAL;
    *ret_pattern = (struct vm_pattern){.text = text, .has_placeholder = strstr(text, "${")};
    *ret_problem = "a wildcard beside a placeholder would reach other VMs; use one or the other";
    return ret_pattern->has_placeholder && has_wildcard(text) ? -EINVAL : 0;
}

bool vm_pattern_match(const struct vm_pattern *pattern, const struct binding *binding, const char *vm) {
    const char *c = pattern->text;

    if (!pattern->has_placeholder)
        return !fnmatch(c, vm, FNM_NOESCAPE);
    /* Walk both texts: a placeholder stands for what is bound, and for nothing where nothing is. */
    while (*c) {
        size_t length = placeholder(c);
        const char *value;

        if (!length) {
            if (*c++ != *vm++)
                return false;
            continue;
        }
        value = c[2] == 'v' ? binding->vm : binding->device;
        if (!*value || strncmp(vm, value, strlen(value)))
            return false;
        vm += strlen(value);
        c += length;
    }
    return !*vm;
}
