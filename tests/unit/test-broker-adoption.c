/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A process whose VM an operator adopts: whose it is, and in which unit it runs, is found out step by step. */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "played-manager.h"

/* A process that an operator names, in a unit of the manager's choice. */
struct process {
    pid_t pid;
    int folder;
};

static struct process start_process(void) {
    struct process process = {.pid = fork()};
    char path[32];

    assert_return_code(process.pid, errno);
    if (process.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* should the test fail */
        for (;;)
            pause();
    }
    snprintf(path, sizeof(path), "/proc/%d", (int) process.pid);
    process.folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_return_code(process.folder, errno);
    return process;
}

static void end_process(struct process *process) {
    kill(process->pid, SIGKILL);
    waitpid(process->pid, NULL, 0);
    process->folder = fd_close(process->folder);
}

/* Up to where the manager is asked about the process. There is no VM: who gets past the policy is told NoDispatcher. */
static void adopt(struct rig *rig, struct client *client, const struct process *process) {
    client_adopt(rig, client, "vm", fcntl(process->folder, F_DUPFD_CLOEXEC, 3));
    client_prove(rig, client);
    if (manager.question)
        tell(0, "operator.service");
}

static void an_adopted_process_is_asked_for(void **state) {
    struct process process = start_process();
    struct rig *rig = rig_with_manager();
    struct client client;

    adopt(rig, &client, &process);
    assert_int_equal(manager.question->pid, process.pid);
    assert_false(client.outcome.replied);
    tell(0, "vm.service");
    expect_refusal(&client, REFUSAL_NO_DISPATCHER, "");
    adopt(rig, &client, &process);
    tell(0, "other.service");
    expect_refusal(&client, REFUSAL_POLICY_DENIED, "other.service");
    adopt(rig, &client, &process);
    tell(-EIO, "too tired");
    expect_refusal(&client, REFUSAL_BUSY, "too tired");
    adopt(rig, &client, &process);
    rig_wait(rig, has_replied, &client);
    expect_refusal(&client, REFUSAL_BUSY, "no answer within 1 s");
    manager.refuses = -ENXIO;
    adopt(rig, &client, &process);
    expect_refusal(&client, REFUSAL_POLICY_DENIED, "");
    end_process(&process);
    rig_end(rig);
}

static void an_adopted_process_exits(void **state) {
    struct process process = start_process(), gone = start_process();
    struct rig *rig = rig_with_manager();
    struct client client;
    unsigned before;

    adopt(rig, &client, &process);
    kill(process.pid, SIGKILL);
    assert_int_equal(waitpid(process.pid, NULL, 0), process.pid);
    tell(0, "vm.service");
    expect_refusal(&client, REFUSAL_NOT_A_VM, "exited");
    kill(gone.pid, SIGKILL);
    assert_int_equal(waitpid(gone.pid, NULL, 0), gone.pid);
    adopt(rig, &client, &gone);
    expect_refusal(&client, REFUSAL_NOT_A_VM, "exited");

    end_process(&process);
    process = start_process();
    before = count_fds();
    adopt(rig, &client, &process); /* nobody waits for it */
    admission_cancel(client.admission);
    client_close(&client);
    assert_int_equal(count_fds(), before);
    end_process(&process);
    end_process(&gone);
    rig_end(rig);
}

static void operators_alone_adopt(void **state) {
    static const char nobody[] = "{ \"version\": 1,"
                                 "  \"operators\": [ { \"name\": \"n\", \"match\": { \"user\": \"nobody\" } } ] }";
    struct process process = start_process();
    struct rig *rig = rig_new(nobody);
    size_t kept, revoked;
    struct policy *policy;
    struct client client;
    char *error;

    manager = (struct manager){0};
    adopt(rig, &client, &process);
    expect_refusal(&client, REFUSAL_POLICY_DENIED, "for operators");
    rig_free(rig);

    rig = rig_with_manager(); /* who is none any more when the answer comes */
    adopt(rig, &client, &process);
    assert_int_equal(policy_load_text("rig", nobody, strlen(nobody), NULL, &policy, &error), 0);
    assert_int_equal(broker_set_policy(rig->broker, policy, false, &kept, &revoked), 0);
    tell(0, "vm.service");
    expect_refusal(&client, REFUSAL_POLICY_DENIED, "for operators");
    end_process(&process);
    rig_end(rig);
}

/* 15: at every step. True if it came to the fault. */
static bool run_out(struct rig *rig, const struct process *process, unsigned nth) {
    struct client client;

    fail_allocation(nth);
    adopt(rig, &client, process);
    if (manager.question)
        tell(0, "vm.service");
    assert_true(client.outcome.replied);
    assert_null(manager.question);
    return end_fault(rig, &client);
}

static void memory_runs_out(void **state) {
    struct process process = start_process();
    unsigned nth = 0, before;
    bool reached;

    do {
        struct rig *rig = rig_with_manager();

        run_out(rig, &process, 0); /* the event loop opens what it needs */
        before = count_fds();
        reached = run_out(rig, &process, ++nth);
        assert_int_equal(count_fds(), before);
        rig_end(rig);
    } while (reached);
    assert_true(nth > 10); /* there was something to fail */
    end_process(&process);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_adopted_process_is_asked_for),
        cmocka_unit_test(an_adopted_process_exits),
        cmocka_unit_test(operators_alone_adopt),
        cmocka_unit_test(memory_runs_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
