// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/ioregionfd: guests' accesses answered by processes, on stock kernels.
 */

#include <linux/miscdevice.h>
#include <linux/rcupdate.h>
#include <linux/uaccess.h>

#include "internal.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* As in wire.h: posted-writes, replay. */
#define FEATURES	(BIT_ULL(0) | BIT_ULL(1))

static long get_info(void __user *user)
{
	const struct ioregionfd_info info = {
		.version = IOREGIONFD_VERSION,
		.region_flags = IOREGIONFD_REGION_FLAGS,
		.features = FEATURES,
		.default_timeout_usec = IOREGION_TIMEOUT_USEC,
		.max_regions = IOREGION_MAX_REGIONS,
	};

	return copy_to_user(user, &info, sizeof(info)) ? -EFAULT : 0;
}

static long bind_vm(const void __user *user)
{
	struct ioregionfd_bind_vm bind;

	if (copy_from_user(&bind, user, sizeof(bind)))
		return -EFAULT;
	return ioregion_vm_bind(&bind);
}

static long ioregionfd_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case IOREGIONFD_GET_INFO:
		return get_info((void __user *)arg);
	case KVM_CREATE_IOREGIONFD:
		return ioregion_channel_create(arg);
	case IOREGIONFD_BIND_VM:
		return bind_vm((const void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations ioregionfd_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= ioregionfd_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice ioregionfd_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "ioregionfd",
	.fops	= &ioregionfd_fops,
	.mode	= 0600,
};

static int __init ioregionfd_init(void)
{
	int ret = ioregion_sweepers_start();

	if (ret)
		return ret;
	ret = misc_register(&ioregionfd_device);
	if (ret)
		ioregion_sweepers_stop();
	return ret;
}

/*
 * Nothing is left, or there were references to the module. But who gave back
 * the last one did so from within this module, and may not have returned yet;
 * that task does not sleep on its way out, which is what this waits for.
 */
static void __exit ioregionfd_exit(void)
{
	misc_deregister(&ioregionfd_device);
	ioregion_sweepers_stop();
	synchronize_rcu_tasks();
}

module_init(ioregionfd_init);
module_exit(ioregionfd_exit);

MODULE_DESCRIPTION("ioregionfd: guest accesses as commands on file descriptors");
MODULE_AUTHOR("The ioregiond authors");
MODULE_VERSION("0.1.0");
MODULE_LICENSE("GPL");
