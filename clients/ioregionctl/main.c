/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

static const struct command *const commands[] = {
    &command_list,   &command_show,   &command_monitor,    &command_start,  &command_adopt,   &command_attach,
    &command_detach, &command_revoke, &command_unregister, &command_policy, &command_version,
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

enum {
    LONG_JSON = 0x100,
    LONG_NO_LEGEND,
    LONG_VERSION,
    LONG_DESCRIPTION,
    LONG_REASON,
    LONG_REVOKE,
    LONG_PID,
    LONG_VM,
    LONG_FD,
    LONG_TIMEOUT,
};

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, LONG_VERSION},
    {"json", no_argument, NULL, LONG_JSON},
    {"no-legend", no_argument, NULL, LONG_NO_LEGEND},
    {"host", required_argument, NULL, 'H'},
    {"machine", required_argument, NULL, 'M'},
    {"description", required_argument, NULL, LONG_DESCRIPTION},
    {"reason", required_argument, NULL, LONG_REASON},
    {"revoke", no_argument, NULL, LONG_REVOKE},
    {"pid", required_argument, NULL, LONG_PID},
    {"vm", required_argument, NULL, LONG_VM},
    {"fd", required_argument, NULL, LONG_FD},
    {"timeout", required_argument, NULL, LONG_TIMEOUT},
    {NULL},
};

/* What the command line asks for. */
struct invocation {
    struct ctl ctl;
    unsigned options; /* OPTION_* that were given */
    bool help, version;
};

static void print_help(void) {
    printf("Usage: ioregionctl [OPTION...] COMMAND ...\n"
           "\n"
           "Look at and operate ioregiond, the broker between VMs and the processes that emulate their devices.\n"
           "\n"
           "Commands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        printf("  %-11s %s\n", commands[i]->name, commands[i]->summary);
    printf("\n"
           "Options:\n"
           "      --json          print JSON, for programs\n"
           "      --no-legend     print neither titles nor totals\n"
           "  -H, --host HOST     ask the broker of another host, over ssh\n"
           "  -M, --machine NAME  ask the broker of a local container\n"
           "  -h, --help          this text, or that of a command: ioregionctl list --help\n"
           "      --version       the version of this program\n"
           "\n"
           "Exit status: 0 done, 1 failed or refused, 2 wrong command line, 3 no broker on the bus.\n"
           "\n"
           "Begin with \"ioregionctl list\"; ioregionctl(1) tells the rest.\n");
}

static void print_command_help(const struct command *command) {
    printf("Usage: ioregionctl %s%s%s\n\n%s", command->name, *command->arguments ? " " : "", command->arguments,
           command->help);
}

static enum status take_option(struct invocation *invocation, int option) {
    struct ctl *ctl = &invocation->ctl;

    switch (option) {
    case 'h':
        invocation->help = true;
        return STATUS_OK;
    case LONG_VERSION:
        invocation->version = true;
        return STATUS_OK;
    case LONG_JSON:
        ctl->json = true;
        invocation->options |= OPTION_JSON;
        return STATUS_OK;
    case LONG_NO_LEGEND:
        ctl->legend = false;
        invocation->options |= OPTION_NO_LEGEND;
        return STATUS_OK;
    case 'H':
        ctl->host = optarg;
        invocation->options |= OPTION_REMOTE;
        return STATUS_OK;
    case 'M':
        ctl->machine = optarg;
        invocation->options |= OPTION_REMOTE;
        return STATUS_OK;
    case LONG_DESCRIPTION:
        ctl->description = optarg;
        invocation->options |= OPTION_DESCRIPTION;
        return STATUS_OK;
    case LONG_REASON:
        ctl->reason = optarg;
        invocation->options |= OPTION_REASON;
        return STATUS_OK;
    case LONG_REVOKE:
        ctl->revoke = true;
        invocation->options |= OPTION_REVOKE;
        return STATUS_OK;
    case LONG_PID:
        ctl->pid = optarg;
        invocation->options |= OPTION_ADOPT;
        return STATUS_OK;
    case LONG_VM:
        ctl->vm = optarg;
        invocation->options |= OPTION_ADOPT;
        return STATUS_OK;
    case LONG_FD:
        ctl->fd = optarg;
        invocation->options |= OPTION_ADOPT;
        return STATUS_OK;
    case LONG_TIMEOUT:
        ctl->timeout = optarg;
        invocation->options |= OPTION_TIMEOUT;
        return STATUS_OK;
    default: /* getopt_long() has said what is wrong */
        return STATUS_USAGE;
    }
}

static const struct command *find_command(const char *name) {
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static enum status run_command(struct invocation *invocation, const struct command *command, char **arguments,
                               unsigned n_arguments) {
    if (invocation->help) {
        print_command_help(command);
        return STATUS_OK;
    }
    if (n_arguments < command->min || n_arguments > command->max) {
        complain("usage: ioregionctl %s %s", command->name, command->arguments);
        return STATUS_USAGE;
    }
    if (invocation->options & ~command->options) {
        complain("%s does not take that option; see ioregionctl %s --help", command->name, command->name);
        return STATUS_USAGE;
    }
    if (invocation->ctl.host && invocation->ctl.machine) {
        complain("--host and --machine exclude each other");
        return STATUS_USAGE;
    }
    return command->run(&invocation->ctl, arguments, n_arguments);
}

static enum status run(struct invocation *invocation, char **arguments, unsigned n_arguments) {
    const struct command *command;

    if (invocation->version) {
        printf("ioregionctl %s\n", PROJECT_VERSION);
        return STATUS_OK;
    }
    if (n_arguments == 0) {
        if (invocation->help)
            print_help();
        else
            complain("give a command; ioregionctl --help lists them");
        return invocation->help ? STATUS_OK : STATUS_USAGE;
    }
    command = find_command(arguments[0]);
    if (!command) {
        complain("there is no command '%s'; ioregionctl --help lists them", arguments[0]);
        return STATUS_USAGE;
    }
    return run_command(invocation, command, arguments + 1, n_arguments - 1);
}

int main(int argc, char **argv) {
    struct invocation invocation = {.ctl.legend = true};
    enum status status = STATUS_OK;
    int option;

    setlocale(LC_ALL, "");
    while (!status && (option = getopt_long(argc, argv, "hH:M:", long_options, NULL)) >= 0)
        status = take_option(&invocation, option);
    if (!status)
        status = run(&invocation, argv + optind, (unsigned) (argc - optind));
    sd_bus_flush_close_unref(invocation.ctl.bus);
    if (fflush(stdout) != 0 && !status) {
        complain("can't write: %s", strerror(errno));
        status = STATUS_FAILED;
    }
    return status;
}
