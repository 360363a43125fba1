// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOREGIONFD_BIND_VM: whose VM is it?
 */

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/jiffies.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "internal.h"

/*
 * Is the file a VM's? From 6.18 on KVM keeps file_is_kvm() to itself. Its own
 * files tell as much: names of anonymous inodes are the kernel's to give, and
 * operations belong to KVM's half for the CPU at hand, or to no module.
 */
static bool is_vm(const struct file *file)
{
	const struct module *owner = file->f_op->owner;

	return file_inode(file)->i_sb->s_magic == ANON_INODE_FS_MAGIC &&
	       !strcmp(file->f_path.dentry->d_name.name, "kvm-vm") &&
	       (!owner || !strcmp(owner->name, "kvm_amd") || !strcmp(owner->name, "kvm_intel"));
}

/* Does that process run this VM? KVM holds the VM's address space, so no other can look like it. */
static int check_owner(struct kvm *kvm, pid_t nr)
{
	struct pid *pid = find_get_pid(nr);
	struct task_struct *task = get_pid_task(pid, PIDTYPE_TGID);
	int ret = -ESRCH;

	if (task) {
		task_lock(task);
		ret = task->mm == kvm->mm && !(task->flags & PF_KTHREAD) ? 0 : -EPERM;
		task_unlock(task);
		put_task_struct(task);
	}
	put_pid(pid);
	return ret;
}

/* From here on the VM's end is known. A handle that was closed just now may have left something. */
static int bind_to(struct ioregion_vm *vm, struct kvm *kvm)
{
	unsigned long until = jiffies + IOREGION_PATIENCE;
	int ret;

	for (;;) {
		if (!ioregion_lock_slots(kvm))
			return -EAGAIN;
		ret = ioregion_sentinel_add(vm, kvm);
		mutex_unlock(&kvm->slots_lock);
		if (ret != -EAGAIN || time_after(jiffies, until))
			return ret;
		schedule_timeout_uninterruptible(1);
	}
}

static struct ioregion_vm *vm_new(void)
{
	struct ioregion_vm *vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);

	if (!vm)
		return NULL;
	__module_get(THIS_MODULE);
	kref_init(&vm->ref);
	mutex_init(&vm->lock);
	INIT_LIST_HEAD(&vm->regions);
	init_waitqueue_head(&vm->wait);
	spin_lock_init(&vm->kvm_lock);
	ioregion_sentinel_init(vm);
	ioregion_sweep_init(vm);
	return vm;
}

static long bind_kvm(struct kvm *kvm)
{
	struct ioregion_vm *vm;
	struct file *file;
	int fd, ret;

	vm = vm_new();
	if (!vm)
		return -ENOMEM;
	file = anon_inode_getfile("[ioregionfd-vm]", &ioregion_handle_fops, vm, O_RDWR);
	if (IS_ERR(file)) {
		ioregion_vm_put(vm);
		return PTR_ERR(file);
	}
	stream_open(file_inode(file), file);
	fd = get_unused_fd_flags(O_CLOEXEC);
	ret = fd < 0 ? fd : bind_to(vm, kvm);
	if (ret) {
		if (fd >= 0)
			put_unused_fd(fd);
		fput(file);
		return ret;
	}
	fd_install(fd, file);
	return fd;
}

long ioregion_vm_bind(const struct ioregionfd_bind_vm *bind)
{
	struct file *file;
	long ret = -EINVAL;

	if (bind->flags)
		return -EINVAL;
	file = fget(bind->vm_fd);
	if (!file)
		return -EBADF;
	if (is_vm(file))
		ret = check_owner(file->private_data, bind->pid);
	if (!ret)
		ret = bind_kvm(file->private_data);
	fput(file);
	return ret;
}
