// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioregionfd: a channel as its device sees it, a file.
 *
 * Regions refer to the channel, never to the file: so the file's last close is
 * the device's end whoever else knows the channel, and no descriptor that is
 * passed around can keep itself alive.
 */

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "internal.h"
#include "trace.h"

static void channel_free(struct kref *ref)
{
	struct ioregion_channel *channel = container_of(ref, struct ioregion_channel, ref);

	if (channel->vm)
		ioregion_vm_put(channel->vm);
	kfree(channel);
}

void ioregion_channel_put(struct ioregion_channel *channel)
{
	kref_put(&channel->ref, channel_free);
}

void ioregion_channel_cut(struct ioregion_channel *channel, u32 loss)
{
	spin_lock(&channel->lock);
	ioregion_channel_cut_locked(channel, loss);
	spin_unlock(&channel->lock);
}

/* One region more, of this VM. One channel serves one VM for all of its life. */
int ioregion_channel_claim(struct ioregion_channel *channel, struct ioregion_vm *vm)
{
	int ret = 0;

	spin_lock(&channel->lock);
	if (channel->loss || channel->closing) {
		ret = -EPIPE;
	} else if (channel->vm && channel->vm != vm) {
		ret = -EBUSY;
	} else {
		if (!channel->vm) {
			kref_get(&vm->ref);
			channel->vm = vm;
		}
		channel->regions++;
	}
	spin_unlock(&channel->lock);
	return ret;
}

/*
 * One region less, which was @served, or never came to be. With the last one
 * the channel ends; or is as it was before its first.
 */
void ioregion_channel_unclaim(struct ioregion_channel *channel, bool served)
{
	struct ioregion_vm *vm = NULL;

	spin_lock(&channel->lock);
	channel->served |= served;
	if (--channel->regions == 0) {
		if (channel->served)
			ioregion_channel_cut_locked(channel, IOREGIONFD_LOSS_EOF);
		else
			swap(vm, channel->vm);
	}
	spin_unlock(&channel->lock);
	if (vm)
		ioregion_vm_put(vm);
}

static ssize_t channel_read(struct kiocb *iocb, struct iov_iter *to)
{
	struct ioregion_channel *channel = iocb->ki_filp->private_data;
	struct ioregionfd_cmd cmd;
	bool popped, lost;
	int ret;

	if (iov_iter_count(to) < sizeof(cmd))
		return -EINVAL;
	for (;;) {
		spin_lock(&channel->lock);
		popped = ioregion_channel_pop(channel, &cmd);
		lost = channel->loss || channel->closing;
		spin_unlock(&channel->lock);
		if (popped)
			return copy_to_iter(&cmd, sizeof(cmd), to) == sizeof(cmd) ? sizeof(cmd) :
										    -EFAULT;
		if (lost)
			return 0;
		if (iocb->ki_filp->f_flags & O_NONBLOCK || iocb->ki_flags & IOCB_NOWAIT)
			return -EAGAIN;
		ret = ioregion_channel_wait(channel);
		if (ret)
			return ret;
	}
}

static ssize_t channel_write(struct file *file, const char __user *buf, size_t count, loff_t *pos)
{
	struct ioregion_channel *channel = file->private_data;
	struct ioregionfd_resp resp;
	ssize_t ret = sizeof(resp);

	if (count == sizeof(resp) && copy_from_user(&resp, buf, sizeof(resp)))
		return -EFAULT;
	spin_lock(&channel->lock);
	if (channel->loss) {
		ret = -EPIPE;
	} else if (count != sizeof(resp) || !ioregion_channel_answer(channel, &resp)) {
		ioregion_channel_cut_locked(channel, IOREGIONFD_LOSS_VIOLATION);
		ret = -EPROTO;
	}
	spin_unlock(&channel->lock);
	return ret;
}

static __poll_t channel_poll(struct file *file, poll_table *wait)
{
	struct ioregion_channel *channel = file->private_data;
	__poll_t ret = 0;

	poll_wait(file, &channel->device, wait);
	spin_lock(&channel->lock);
	if (channel->loss)
		ret = EPOLLIN | EPOLLHUP | EPOLLRDHUP;
	else if (channel->closing)
		ret = EPOLLIN | EPOLLRDHUP;
	else if (channel->head != channel->tail)
		ret = EPOLLIN | EPOLLRDNORM;
	if (!channel->loss && channel->owed && channel->taken)
		ret |= EPOLLOUT | EPOLLWRNORM;
	spin_unlock(&channel->lock);
	return ret;
}

static long channel_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	if (cmd != IOREGIONFD_SHUTDOWN)
		return -ENOTTY;
	if (arg == IOREGIONFD_SHUTDOWN_READ)
		ioregion_channel_shutdown(file->private_data);
	else if (arg == IOREGIONFD_SHUTDOWN_BOTH)
		ioregion_channel_cut(file->private_data, IOREGIONFD_LOSS_EOF);
	else
		return -EINVAL;
	return 0;
}

static int channel_release(struct inode *inode, struct file *file)
{
	struct ioregion_channel *channel = file->private_data;

	ioregion_channel_cut(channel, IOREGIONFD_LOSS_EOF);
	ioregion_channel_put(channel);
	return 0;
}

static void channel_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct ioregion_channel *channel = file->private_data;

	spin_lock(&channel->lock);
	seq_printf(m, "regions:\t%u\nunread:\t%u\nowed:\t%d\nloss:\t%u\n", channel->regions,
		   channel->head - channel->tail, channel->owed, channel->loss);
	spin_unlock(&channel->lock);
}

static const struct file_operations channel_fops = {
	.owner		= THIS_MODULE,
	.read_iter	= channel_read,
	.write		= channel_write,
	.poll		= channel_poll,
	.unlocked_ioctl	= channel_ioctl,
	.compat_ioctl	= channel_ioctl,
	.release	= channel_release,
	.show_fdinfo	= channel_show_fdinfo,
};

/* A reference to the channel of a descriptor. */
struct ioregion_channel *ioregion_channel_from_fd(int fd)
{
	struct ioregion_channel *channel;
	struct file *file = fget(fd);

	if (!file)
		return ERR_PTR(-EBADF);
	channel = ERR_PTR(-ENXIO);
	if (file->f_op == &channel_fops) {
		channel = file->private_data;
		kref_get(&channel->ref);
	}
	fput(file);
	return channel;
}

long ioregion_channel_create(unsigned long flags)
{
	struct ioregion_channel *channel;
	struct file *file;
	int fd;

	if (flags & ~(unsigned long)O_NONBLOCK)
		return -EINVAL;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	channel = kzalloc(sizeof(*channel), GFP_KERNEL_ACCOUNT);
	if (!channel) {
		put_unused_fd(fd);
		return -ENOMEM;
	}
	kref_init(&channel->ref);
	spin_lock_init(&channel->lock);
	init_waitqueue_head(&channel->device);
	INIT_LIST_HEAD(&channel->queue);
	file = anon_inode_getfile("[ioregionfd]", &channel_fops, channel, O_RDWR | flags);
	if (IS_ERR(file)) {
		ioregion_channel_put(channel);
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	stream_open(file_inode(file), file);
	file->f_mode |= FMODE_NOWAIT;
	fd_install(fd, file);
	return fd;
}
