/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <ioregion/ioregionfd.h>
#include "sandbox-calls.h"

/*
 * Every system call that the running daemon makes, beside its reason. Calls that do many things (ioctl, fcntl,
 * prctl, socket options, ...) are allowed for what they are used for only. What is not here ends the process.
 */

#define ALLOW(call)                                                                                                    \
    {                                                                                                                  \
        SCMP_SYS(call), 0, {                                                                                           \
        }                                                                                                              \
    }
#define ONLY(call, argument, value)                                                                                    \
    {                                                                                                                  \
        SCMP_SYS(call), 1, {                                                                                           \
            SCMP_CMP64(argument, SCMP_CMP_EQ, value)                                                                   \
        }                                                                                                              \
    }
#define WITHOUT(call, argument, bits)                                                                                  \
    {                                                                                                                  \
        SCMP_SYS(call), 1, {                                                                                           \
            SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, bits, 0)                                                          \
        }                                                                                                              \
    }
#define ONLY2(call, a, value_a, b, value_b)                                                                            \
    {                                                                                                                  \
        SCMP_SYS(call), 2, {                                                                                           \
            SCMP_CMP64(a, SCMP_CMP_EQ, value_a), SCMP_CMP64(b, SCMP_CMP_EQ, value_b)                                   \
        }                                                                                                              \
    }

/* For what libraries may try at an account look-up and can live without: no reason to end. */
#define REFUSE(call, condition, failure)                                                                               \
    { SCMP_SYS(call), 1, {condition}, failure }

const struct sandbox_call sandbox_calls[] = {
    /* the event loop */
    ALLOW(epoll_create1),   /* sd-event, once */
    ALLOW(epoll_ctl),       /* leases, timers and the bus come and go */
    ALLOW(epoll_wait),      /* where it waits */
    ALLOW(epoll_pwait),     /* glibc's epoll_wait on some architectures */
    ALLOW(epoll_pwait2),    /* the same, with a finer clock */
    ALLOW(timerfd_create),  /* deadlines of proofs and answers, grace times, the watchdog */
    ALLOW(timerfd_settime), /* the same */
    ALLOW(signalfd4),       /* SIGTERM, SIGINT, SIGHUP */
    ALLOW(rt_sigprocmask),  /* the same; abort() */
    ALLOW(rt_sigaction),    /* abort() */
    ALLOW(rt_sigreturn),    /* return from a handler that somebody else installed */
    ALLOW(clock_gettime),   /* where the vDSO can't tell the time */
    ALLOW(clock_getres),    /* the same */
    ALLOW(gettimeofday),    /* the same */
    ALLOW(clock_nanosleep), /* glibc's resolver of accounts, between attempts */
    ALLOW(restart_syscall), /* the kernel's own, after a stop signal */

    /* sockets: the bus, the leases, the journal, the service manager; and none of the network */
    ONLY(socket, 0, AF_UNIX),                                          /* bus, journal, sd_notify */
    REFUSE(socket, SCMP_CMP64(0, SCMP_CMP_NE, AF_UNIX), EAFNOSUPPORT), /* accounts kept on the network */
    ONLY(socketpair, 0, AF_UNIX),                                      /* the channels that a device is granted */
    ALLOW(connect),                  /* bus, journal, account services; Unix sockets, as none else can be made */
    ALLOW(getsockname),              /* a lease must be unnamed */
    ALLOW(getpeername),              /* and connected to one that is */
    ONLY(getsockopt, 1, SOL_SOCKET), /* type, peer credentials and cookie of a lease */
    ONLY2(setsockopt, 1, SOL_SOCKET, 2, SO_PASSCRED), /* the proof's credentials */
    ONLY2(setsockopt, 1, SOL_SOCKET, 2, SO_SNDBUF),   /* sd-bus and sd-journal want roomy buffers */
    ONLY2(setsockopt, 1, SOL_SOCKET, 2, SO_RCVBUF),
    ONLY2(setsockopt, 1, SOL_SOCKET, 2, SO_SNDBUFFORCE), /* the same: tried first, refused without a capability */
    ONLY2(setsockopt, 1, SOL_SOCKET, 2, SO_RCVBUFFORCE),
    ONLY2(setsockopt, 1, SOL_SOCKET, 2, SO_PASSSEC),  /* sd-bus, on connecting */
    ONLY2(setsockopt, 1, SOL_SOCKET, 2, SO_SNDTIMEO), /* the channel's deadline */
    ONLY2(setsockopt, 1, SOL_SOCKET, 2, SO_RCVTIMEO),
    ALLOW(sendmsg),  /* lease, bus, journal */
    ALLOW(recvmsg),  /* lease, bus */
    ALLOW(sendto),   /* account services, channel */
    ALLOW(recvfrom), /* the same; sd-bus on connecting */
    ALLOW(shutdown), /* cutting a channel */
    ALLOW(poll),     /* has a lease hung up? is a process alive? */
    ALLOW(ppoll),    /* the same */

    /* descriptors and files: the policy, /proc of those who prove themselves, account files */
    ALLOW(openat), /* policy, state, /proc/PID of others, passwd and group */
    ALLOW(read),
    ALLOW(readv),
    ALLOW(pread64),
    ALLOW(write),  /* standard error, state */
    ALLOW(writev), /* the bus */
    ALLOW(close),
    ALLOW(lseek), /* stdio */
    ALLOW(fstat),
    ALLOW(newfstatat),               /* fstat() of newer glibc; scandir of the policy */
    ALLOW(statx),                    /* the same; is the folder of a process where /proc has it? */
    ALLOW(fstatfs),                  /* which cgroup hierarchy is this */
    ALLOW(statfs),                   /* the same */
    ALLOW(access),                   /* sd_pid_get_unit, account services */
    ALLOW(faccessat),                /* the same */
    ALLOW(faccessat2),               /* the same */
    ALLOW(readlink),                 /* what kind of file is a VM descriptor? */
    ALLOW(readlinkat),               /* the same */
    ALLOW(getdents64),               /* the policy's folder, and that of the state */
    ALLOW(mkdirat),                  /* the folder of the state */
    ALLOW(renameat),                 /* a file of state is replaced as a whole */
    ALLOW(renameat2),                /* the same, where there is no other */
    ALLOW(unlinkat),                 /* and goes with its VM */
    ONLY(fcntl, 1, F_DUPFD_CLOEXEC), /* a lease, out of the message that brought it */
    ONLY(fcntl, 1, F_GETFD),         /* sd-bus, sd-event */
    ONLY(fcntl, 1, F_SETFD),
    ONLY(fcntl, 1, F_GETFL), /* the same; access modes of what callers pass */
    ONLY(fcntl, 1, F_SETFL),
    ONLY(fcntl, 1, F_ADD_SEALS), /* sd-journal, when a record is too long for a datagram */
    ONLY(fcntl, 1, F_GET_SEALS),
    ALLOW(memfd_create),                   /* the same */
    ONLY(ioctl, 1, TCGETS),                /* stdio: is standard error a terminal? */
    ONLY(ioctl, 1, SIOCINQ),               /* sd-bus on connecting */
    ONLY(ioctl, 1, SIOCOUTQ),              /* is the journal's socket empty? */
    ONLY(ioctl, 1, IOREGIONFD_GET_INFO),   /* the kernel dispatcher: is it there? */
    ONLY(ioctl, 1, IOREGIONFD_BIND_VM),    /* a VM is registered */
    ONLY(ioctl, 1, KVM_CREATE_IOREGIONFD), /* a device attaches */
    ONLY(ioctl, 1, KVM_SET_IOREGION),      /* the same; comes back, and goes */
    ONLY(ioctl, 1, IOREGIONFD_CUT_REGION), /* is cut off */
    ONLY(ioctl, 1, IOREGIONFD_GET_STATS),  /* what people ask for */

    /* processes: whose lease is it, and is it still there */
    ALLOW(pidfd_open),             /* step two of the proof */
    ONLY(pidfd_send_signal, 1, 0), /* no signal: is this the folder of a process that an operator names? */
    ALLOW(getpid),
    ALLOW(gettid),
    ALLOW(getuid), /* sd-bus's handshake; secure_getenv in libraries */
    ALLOW(geteuid),
    ALLOW(getgid),
    ALLOW(getegid),
    ONLY(prctl, 0, PR_GET_NAME), /* sd-bus's description of itself */
    ALLOW(uname),                /* gethostname() of account services */
    ALLOW(getrandom),            /* nonces, ids, hash seeds */
    ALLOW(sched_yield),          /* glibc's locks */

    /* memory; nothing that is executable is ever mapped again */
    ALLOW(brk),
    WITHOUT(mmap, 2, PROT_EXEC),
    /* glibc, when it sees nsswitch.conf changed: a service that is new there is of use after a restart only */
    REFUSE(mmap, SCMP_CMP64(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC), EACCES),
    WITHOUT(mprotect, 2, PROT_EXEC),
    ALLOW(munmap),
    ALLOW(mremap),
    ALLOW(madvise), /* free() gives back */
    ALLOW(sysinfo), /* qsort() of more than a kilobyte: is there memory for it? */
    ALLOW(futex),   /* glibc's locks */

    /* the end */
    ALLOW(exit),
    ALLOW(exit_group),
    ONLY(tgkill, 2, 6), /* abort(), and no other signal */

#if defined(SANITIZED)
    /* Test builds only: what the sanitizers' run-time does, above all to look for leaks at the end. */
    ALLOW(clone),
    ALLOW(wait4),
    ALLOW(ptrace),
    ALLOW(prctl),
    ALLOW(sigaltstack),
    ALLOW(getppid),
    ALLOW(getrlimit),
    ALLOW(prlimit64),
    ALLOW(sched_getaffinity),
    ALLOW(open),
    ALLOW(stat),
    ALLOW(unlink),
    ALLOW(kill),
    ALLOW(getdents),
    ALLOW(process_vm_readv),
    ALLOW(pipe),
    ALLOW(pipe2),
    ALLOW(dup),
    ALLOW(dup2),
    ALLOW(ioctl),
    ALLOW(arch_prctl),
    ALLOW(set_robust_list),
    ALLOW(rseq),
#endif
};

const size_t sandbox_n_calls = sizeof(sandbox_calls) / sizeof(*sandbox_calls);
