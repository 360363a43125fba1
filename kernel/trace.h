/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ioregionfd

#if !defined(IOREGIONFD_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define IOREGIONFD_TRACE_H

#include <linux/tracepoint.h>

#include <ioregion/ioregionfd.h>

TRACE_EVENT(ioregionfd_command,
	TP_PROTO(const struct ioregionfd_cmd *cmd),
	TP_ARGS(cmd),
	TP_STRUCT__entry(
		__field(u32, info)
		__field(u64, user_data)
		__field(u64, offset)
		__field(u64, data)
	),
	TP_fast_assign(
		__entry->info = cmd->info;
		__entry->user_data = cmd->user_data;
		__entry->offset = cmd->offset;
		__entry->data = cmd->data;
	),
	TP_printk("info 0x%x user_data 0x%llx offset 0x%llx data 0x%llx", __entry->info,
		  __entry->user_data, __entry->offset, __entry->data)
);

TRACE_EVENT(ioregionfd_response,
	TP_PROTO(u64 data),
	TP_ARGS(data),
	TP_STRUCT__entry(__field(u64, data)),
	TP_fast_assign(__entry->data = data;),
	TP_printk("data 0x%llx", __entry->data)
);

/* 1: end of file, 2: deadline, 3: violation */
TRACE_EVENT(ioregionfd_loss,
	TP_PROTO(u32 loss),
	TP_ARGS(loss),
	TP_STRUCT__entry(__field(u32, loss)),
	TP_fast_assign(__entry->loss = loss;),
	TP_printk("loss %u", __entry->loss)
);

/* The change is one of a few constants. */
TRACE_EVENT(ioregionfd_region,
	TP_PROTO(const char *change, const struct kvm_ioregion *desc),
	TP_ARGS(change, desc),
	TP_STRUCT__entry(
		__field(const char *, change)
		__field(u64, guest_paddr)
		__field(u64, memory_size)
		__field(u64, user_data)
		__field(u32, flags)
	),
	TP_fast_assign(
		__entry->change = change;
		__entry->guest_paddr = desc->guest_paddr;
		__entry->memory_size = desc->memory_size;
		__entry->user_data = desc->user_data;
		__entry->flags = desc->flags;
	),
	TP_printk("%s 0x%llx+0x%llx user_data 0x%llx flags 0x%x", __entry->change,
		  __entry->guest_paddr, __entry->memory_size, __entry->user_data, __entry->flags)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
