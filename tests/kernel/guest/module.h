/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GUEST_MODULE_H
#define GUEST_MODULE_H

/* Kernel modules, from /modules. 0 or a negative errno. */
int module_load(const char *name);
int module_unload(const char *name);
/* A parameter of a loaded module. */
int module_set(const char *name, const char *parameter, const char *value);

/* Of a loaded module; -1 when it is not loaded. */
int module_references(const char *name);
/* The same, once they are so few, or after 5 s: some are given back from work queues. */
int references_fall_to(const char *name, int references);

/*
 * Objects in the general caches of kmalloc(), from which all that the module and the buses take comes; in those whose
 * names contain @size. The least of some counts over 2 s: for some are freed late, and what CPUs hold counts as taken.
 */
long kmalloc_objects(const char *size);

/*
 * A check that there are no more of them than @before and @allowed. With KASAN they are hardly ever freed; what is lost,
 * kmemleak tells at the end.
 */
void check_kmalloc_objects(const char *size, long before, long allowed);
#define STRAY_OBJECTS 25

/* Where kmemleak is heard, on kernels that have it. All tests are over then. */
#define KMEMLEAK "/sys/kernel/debug/kmemleak"

#endif
