/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef IOREGIONFD_COMPAT_H
#define IOREGIONFD_COMPAT_H

/* What differs between kernels. */

#include <linux/fs.h>
#include <linux/kvm_host.h>
#include <linux/version.h>

/*
 * Is the file a VM's? From 6.18 on KVM keeps file_is_kvm() to itself; names
 * that only its own files bear tell as much: who owns the operations, and
 * what the anonymous inode is called.
 */
static inline bool ioregion_file_is_vm(struct file *file)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 18, 0)
	return file_is_kvm(file);
#else
	return file->f_op->owner && !strcmp(file->f_op->owner->name, "kvm") &&
	       !strcmp(file->f_path.dentry->d_name.name, "kvm-vm");
#endif
}

#endif
