# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VM of KVM's, and a guest that makes the accesses it is told, one at a time."""

import ctypes
import fcntl
import json
import mmap
import os
import struct

KVM_CREATE_VM, KVM_GET_VCPU_MMAP_SIZE, KVM_CREATE_VCPU = 0xae01, 0xae04, 0xae41
KVM_SET_USER_MEMORY_REGION, KVM_RUN = 0x4020ae46, 0xae80
KVM_GET_REGS, KVM_SET_REGS, KVM_GET_SREGS, KVM_SET_SREGS = 0x8090ae81, 0x4090ae82, 0x8138ae83, 0x4138ae84
KVM_EXIT_IO, KVM_EXIT_HLT, KVM_EXIT_MMIO = 2, 5, 6

BASE, RAM = 0xdffe0000, 0x2000  # where no test has a region, but may have one
VALUE = 0x1000  # where in it 64-bit values are, since the guest's registers have 32
REGISTERS = 'rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags'.split()
LAYOUT = struct.Struct('=18Q')
FLAT = struct.Struct('=QIHBBBBBBBBBB')

LOOP, HLT = b'\xe2', b'\xf4'  # LOOP counts rcx down, and takes how far back it goes
LOAD, STORE = b'\x0f\x6f\x05' + struct.pack('<I', BASE + VALUE), b'\x0f\x7f\x05' + struct.pack('<I', BASE + VALUE)
# The address is in rbx, or the port in rdx; the value in rax, or in memory, by way of mm0
CODE = {('mmio', 'read', 1): b'\x8a\x03', ('mmio', 'read', 2): b'\x66\x8b\x03', ('mmio', 'read', 4): b'\x8b\x03',
        ('mmio', 'read', 8): b'\x0f\x6f\x03' + STORE, ('mmio', 'write', 8): LOAD + b'\x0f\x7f\x03',
        ('mmio', 'write', 1): b'\x88\x03', ('mmio', 'write', 2): b'\x66\x89\x03', ('mmio', 'write', 4): b'\x89\x03',
        ('pio', 'read', 1): b'\xec', ('pio', 'read', 2): b'\x66\xed', ('pio', 'read', 4): b'\xed',
        ('pio', 'write', 1): b'\xee', ('pio', 'write', 2): b'\x66\xef', ('pio', 'write', 4): b'\xef'}


class Machine:
    """As much of a VMM as a guest needs that does nothing of its own."""

    def __init__(self):
        kvm = os.open('/dev/kvm', os.O_RDWR | os.O_CLOEXEC)
        self.fd = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
        self.memory = mmap.mmap(-1, RAM)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        fcntl.ioctl(self.fd, KVM_SET_USER_MEMORY_REGION, struct.pack('=IIQQQ', 0, 0, BASE, RAM, address))
        self.vcpu = fcntl.ioctl(self.fd, KVM_CREATE_VCPU, 0)
        self.run = mmap.mmap(self.vcpu, fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0))
        os.close(kvm)
        self._enter_protected_mode()

    def fileno(self):
        return self.fd

    def close(self):
        self.run.close()
        os.close(self.vcpu)
        os.close(self.fd)

    def _enter_protected_mode(self):
        """Flat segments of 32 bits, no paging."""
        state = bytearray(fcntl.ioctl(self.vcpu, KVM_GET_SREGS, bytes(312)))
        for index in range(6):  # CS, then those of data
            FLAT.pack_into(state, 24 * index, 0, 0xffffffff, 16 if index else 8, 3 if index else 11, 1, 0, 1, 1, 0, 1,
                           0, 0, 0)
        cr0, = struct.unpack_from('=Q', state, 224)
        struct.pack_into('=Q', state, 224, cr0 | 1)
        fcntl.ioctl(self.vcpu, KVM_SET_SREGS, bytes(state))

    def access(self, space, address, size, value=None, times=1):
        """What the guest reads, or zero after a write; None when the access came to the VMM, which has nothing."""
        code = CODE[space, 'read' if value is None else 'write', size]
        code += LOOP + struct.pack('<b', -len(code + LOOP) - 1) + HLT
        self.memory[:len(code)] = code
        self.memory[VALUE:VALUE + 8] = struct.pack('<Q', value or 0)
        registers = dict.fromkeys(REGISTERS, 0)
        registers.update(rbx=address, rdx=address, rax=(value or 0) & 0xffffffff, rcx=times, rip=BASE,
                         rflags=2)
        fcntl.ioctl(self.vcpu, KVM_SET_REGS, LAYOUT.pack(*registers.values()))
        claimed = self._run()
        if not claimed:
            return None
        if value is not None:
            return 0
        if size == 8:
            return struct.unpack_from('<Q', self.memory, VALUE)[0]
        return LAYOUT.unpack(fcntl.ioctl(self.vcpu, KVM_GET_REGS, bytes(LAYOUT.size)))[0]

    def _run(self):
        """Until the guest halts; false when it had to be told that there is nothing."""
        claimed = True
        while True:
            fcntl.ioctl(self.vcpu, KVM_RUN, 0)
            reason, = struct.unpack_from('=I', self.run, 8)
            if reason == KVM_EXIT_HLT:
                return claimed
            if reason not in (KVM_EXIT_IO, KVM_EXIT_MMIO):
                raise RuntimeError(f'exit {reason}')
            claimed = False

    def serve(self, requests):
        """Make the accesses that are asked for on a socket, until it ends."""
        while request := requests.recv(4096):
            requests.send(json.dumps(self.access(*json.loads(request))).encode())
