"""Seccomp: the system calls that no answer to an exercise needs are refused.

Refused are: new processes and programs, sockets, tracing, mounting, namespaces, keys, shared memory, kernel modules,
and signals to anyone but the process itself. Threads are allowed; the number of them is a matter of the limits.
"""

import ctypes
import errno
import os
import struct

from autograder.isolation import kernel

# The system call's number on x86_64 and on aarch64; -1 where there is none.
REFUSED = {
    "accept": (43, 202), "accept4": (288, 242), "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171),
    "bind": (49, 200), "bpf": (321, 280), "chroot": (161, 51), "clock_adjtime": (305, 266),
    "clock_settime": (227, 112), "connect": (42, 203), "delete_module": (176, 106), "execve": (59, 221),
    "execveat": (322, 281), "fanotify_init": (300, 262), "finit_module": (313, 273), "fork": (57, -1),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fsopen": (430, 430), "fspick": (433, 433),
    "init_module": (175, 105), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425), "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219),
    "listen": (50, 201), "memfd_create": (319, 279), "memfd_secret": (447, 447), "mount": (165, 40),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "mq_open": (240, 180), "msgget": (68, 186),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "open_tree": (428, 428),
    "perf_event_open": (298, 241), "personality": (135, 92), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pivot_root": (155, 41), "process_madvise": (440, 440),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60),
    "reboot": (169, 142), "request_key": (249, 218), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "semget": (64, 190), "setns": (308, 268), "settimeofday": (170, 170), "shmat": (30, 196), "shmget": (29, 194),
    "socket": (41, 198), "swapoff": (168, 225), "swapon": (167, 224), "syslog": (103, 116), "tkill": (200, 130),
    "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282), "vfork": (58, -1),
}  # fmt: skip
CLONE, CLONE3 = (56, 220), (435, 435)
TO_ITSELF = {"kill": (62, 129), "tgkill": (234, 131)}  # the first argument is the process
ITSELF_OR_ZERO = {"prlimit64": (302, 261)}
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
CLONE_THREAD = 0x00010000

LOAD, EQUAL, AT_LEAST, HAS_BITS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16


def supported() -> bool:
    """Whether we have the numbers of this machine's system calls."""
    return kernel.LINUX and kernel.MACHINE in MACHINES


def program(pid: int) -> bytes:
    """The filter for the process ``pid``, as the kernel's little machine reads it."""
    column, architecture = MACHINES[kernel.MACHINE]
    code: list[tuple[int, int, int, int]] = []

    def add(operation: int, value: int, then: int = 0, otherwise: int = 0) -> None:
        code.append((operation, then, otherwise, value))

    def refuse(with_error: int = errno.EPERM) -> None:
        add(RETURN, REFUSE | with_error)

    add(LOAD, ARCHITECTURE)
    add(EQUAL, architecture, then=1)
    add(RETURN, KILL)
    add(LOAD, NUMBER)
    if column == 0:  # the x32 calls have numbers of their own
        add(AT_LEAST, 0x40000000, otherwise=1)
        refuse()
    for numbers in REFUSED.values():
        if numbers[column] >= 0:
            add(EQUAL, numbers[column], otherwise=1)
            refuse()
    add(EQUAL, CLONE3[column], otherwise=1)
    refuse(errno.ENOSYS)  # its flags lie in memory, where a filter cannot look; the C library then takes clone
    add(EQUAL, CLONE[column], otherwise=4)
    add(LOAD, FIRST_ARGUMENT)
    add(HAS_BITS, CLONE_THREAD, then=1)
    refuse()
    add(RETURN, ALLOW)
    for numbers, zero in [(n, False) for n in TO_ITSELF.values()] + [(n, True) for n in ITSELF_OR_ZERO.values()]:
        add(EQUAL, numbers[column], otherwise=4 + zero)
        add(LOAD, FIRST_ARGUMENT)
        if zero:
            add(EQUAL, 0, then=2)
        add(EQUAL, pid, then=1)
        refuse()
        add(RETURN, ALLOW)
    add(RETURN, ALLOW)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def restrict() -> None:
    """From now on the calls of ``REFUSED`` fail in this process and in its threads."""
    code = program(os.getpid())
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_SECCOMP, 2, ctypes.pointer(_Program(len(code) // 8, code)))
