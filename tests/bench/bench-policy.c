/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What does a decision cost with 1,000 rules, measured in what it costs with 10? */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/policy.h"

#define FEW 10
#define MANY 1000
#define DECISIONS 2000 /* a round */

static int account(const char *name, unsigned *ret_id) {
    *ret_id = 1;
    return 0;
}

static struct policy *fleet(unsigned n) {
    static const struct policy_accounts accounts = {.user = account, .group = account};
    char *text = NULL, *error = NULL;
    struct policy *policy = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    fprintf(f, "{\"version\":1,\"reserved\":[{\"space\":\"pio\",\"base\":\"0x20\",\"size\":\"2\",\"why\":\"PIC\"}],"
               "\"devices\":[");
    for (unsigned i = 0; i < n; i++)
        fprintf(f,
                "%s{\"name\":\"rule-%u\",\"match\":{\"unit\":\"device-%u@*.service\"},\"vms\":[\"${vm}\"],"
                "\"regions\":[{\"space\":\"pio\",\"base\":\"0x3f8\",\"size\":\"8\"}]}",
                i ? "," : "", i, i);
    fprintf(f, "]}");
    fclose(f);
    if (policy_load_text("bench", text, size, &accounts, &policy, &error) < 0) {
        fprintf(stderr, "bench-policy: %s\n", error ?: "out of memory");
        exit(1);
    }
    free(text);
    return policy;
}

static double now_ns(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

/* Nanoseconds a decision; every rule's unit asks in turn, and every answer must be the right one. */
static double decide(const struct policy *policy, unsigned n) {
    static char units[MANY][32], rules[MANY][16];
    static const struct ioregion_region region = {.space = IOREGION_PIO, .base = 0x3f8, .size = 8};
    static const struct policy_attach question = {
        .vm = "vm-1", .device = "uart", .regions = &region, .n_regions = 1, .channels = 1};
    struct policy_verdict verdict;
    double start;

    for (unsigned i = 0; i < n; i++) {
        snprintf(units[i], sizeof(units[i]), "device-%u@vm-1.service", i);
        snprintf(rules[i], sizeof(rules[i]), "rule-%u", i);
    }
    start = now_ns();
    for (unsigned i = 0; i < DECISIONS; i++) {
        unsigned which = i * 7 % n;
        struct policy_subject subject = {.unit = units[which], .uid = 1000};

        policy_check_attach(policy, &subject, &question, &verdict);
        if (!verdict.allowed || strcmp(verdict.rule, rules[which]))
            exit(1);
    }
    return (now_ns() - start) / DECISIONS;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

static double median(double *values, unsigned n) {
    qsort(values, n, sizeof(*values), compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"rounds", required_argument, NULL, 'r'}, {NULL}};
    struct policy *few = fleet(FEW), *many = fleet(MANY);
    unsigned rounds = 51;
    double *few_ns, *many_ns, few_median, many_median;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (c == 'r')
            rounds = (unsigned) strtoul(optarg, NULL, 10);
        else
            return 2;
    few_ns = calloc(rounds, sizeof(*few_ns));
    many_ns = calloc(rounds, sizeof(*many_ns));
    if (!rounds || !few_ns || !many_ns)
        return 2;
    for (unsigned i = 0; i < rounds; i++) {
        few_ns[i] = decide(few, FEW);
        many_ns[i] = decide(many, MANY);
    }
    few_median = median(few_ns, rounds);
    many_median = median(many_ns, rounds);
    printf("{\"bench\": \"policy-1k\", \"ratio\": %.3f, \"rounds\": %u, \"ns-10\": %.0f, \"ns-1000\": %.0f}\n",
           many_median / few_median, rounds, few_median, many_median);
    free(few_ns);
    free(many_ns);
    policy_free(few);
    policy_free(many);
    return 0;
}
