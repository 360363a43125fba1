/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus-error.h"
#include "bus-object.h"

#define TEMPLATE_VM BUS_PATH_VM "/%"
#define TEMPLATE_DEVICE TEMPLATE_VM "/device/%"
#define TEMPLATE_REGION TEMPLATE_DEVICE "/region/%"

/* What a path names, level by level; the levels below are NULL. */
struct names {
    char *vm, *device, *region;
};

static void names_done(struct names *names) {
    free(names->vm);
    free(names->device);
    free(names->region);
}

char *vm_path(const struct vm *vm) {
    char *path;

    return sd_bus_path_encode_many(&path, TEMPLATE_VM, vm->name) < 0 ? NULL : path;
}

char *device_path(const struct device *device) {
    char *path;

    return sd_bus_path_encode_many(&path, TEMPLATE_DEVICE, device->vm->name, device->name) < 0 ? NULL : path;
}

char *region_path(const struct region *region) {
    _cleanup_(freep) char *parent = device_path(region->device);
    char *path;

    return !parent || asprintf(&path, "%s/region/%u", parent, region->index) < 0 ? NULL : path;
}

static unsigned levels(const char *path) {
    unsigned n = 0;

    for (; *path; path++)
        n += *path == '/';
    return n;
}

static int no_such_vm(sd_bus_error *ret_error, const char *name) {
    return bus_error_refuse(ret_error, REFUSAL_NO_SUCH_VM, "no VM '%s' is registered", name);
}

static int find_device(const struct bus *bus, const struct names *names, struct device **ret_device,
                       sd_bus_error *ret_error) {
    struct vm *vm = broker_find_vm(bus->broker, names->vm);
    struct device *device = vm ? vm_find_device(vm, names->device) : NULL;

    if (!vm)
        return no_such_vm(ret_error, names->vm);
    if (!device)
        return bus_error_refuse(ret_error, REFUSAL_NO_SUCH_DEVICE, "no device '%s' is attached to VM '%s'",
                                names->device, names->vm);
    *ret_device = device;
    return 1;
}

int bus_find_vm(sd_bus *connection, const char *path, const char *interface, void *userdata, void **ret_vm,
                sd_bus_error *ret_error) {
    _cleanup_(names_done) struct names names = {};
    struct bus *bus = userdata;
    struct vm *vm;
    int r;

    r = levels(path) == 4 ? sd_bus_path_decode_many(path, TEMPLATE_VM, &names.vm) : 0;
    if (r <= 0)
        return r;
    vm = broker_find_vm(bus->broker, names.vm);
    if (!vm)
        return no_such_vm(ret_error, names.vm);
    *ret_vm = vm;
    return 1;
}

int bus_find_device(sd_bus *connection, const char *path, const char *interface, void *userdata, void **ret_device,
                    sd_bus_error *ret_error) {
    _cleanup_(names_done) struct names names = {};
    struct device *device = NULL;
    int r;

    r = levels(path) == 6 ? sd_bus_path_decode_many(path, TEMPLATE_DEVICE, &names.vm, &names.device) : 0;
    if (r > 0)
        r = find_device(userdata, &names, &device, ret_error);
    if (r > 0)
        *ret_device = device;
    return r;
}

int bus_find_region(sd_bus *connection, const char *path, const char *interface, void *userdata, void **ret_region,
                    sd_bus_error *ret_error) {
    _cleanup_(names_done) struct names names = {};
    struct device *device = NULL;
    unsigned long index;
    char *end;
    int r;

    if (levels(path) != 8)
        return 0;
    r = sd_bus_path_decode_many(path, TEMPLATE_REGION, &names.vm, &names.device, &names.region);
    if (r > 0)
        r = find_device(userdata, &names, &device, ret_error);
    if (r <= 0)
        return r;
    index = strtoul(names.region, &end, 10);
    if (strspn(names.region, "0123456789") == 0 || *end || index >= device->n_regions) {
        sd_bus_error_setf(ret_error, SD_BUS_ERROR_UNKNOWN_OBJECT, "device '%s' of VM '%s' has regions 0 to %zu only",
                          device->name, device->vm->name, device->n_regions - 1);
        return -ENOENT;
    }
    *ret_region = &device->regions[index];
    return 1;
}

/* A growing list of paths. */
struct nodes {
    char **paths;
    size_t n, room;
};

static void nodes_done(struct nodes *nodes) {
    for (size_t i = 0; i < nodes->n; i++)
        free(nodes->paths[i]);
    free(nodes->paths);
}

/* Takes @path; NULL is out of memory. There is always room for the NULL at the end. */
static int nodes_add(struct nodes *nodes, char *path) {
    if (path && nodes->n + 2 > nodes->room) {
        size_t room = 2 * nodes->room + 16;
        char **paths = reallocarray(nodes->paths, room, sizeof(*paths));

        if (!paths) {
            free(path);
            return -ENOMEM;
        }
        nodes->paths = paths;
        nodes->room = room;
    }
    if (!path)
        return -ENOMEM;
    nodes->paths[nodes->n++] = path;
    nodes->paths[nodes->n] = NULL;
    return 0;
}

static int add_regions(const struct device *device, struct nodes *nodes) {
    int r = 0;

    for (size_t i = 0; i < device->n_regions && r >= 0; i++)
        r = nodes_add(nodes, region_path(&device->regions[i]));
    return r;
}

static int add_device(struct device *device, void *nodes) {
    return nodes_add(nodes, device_path(device));
}

static int add_vm(struct vm *vm, void *nodes) {
    return nodes_add(nodes, vm_path(vm));
}

static int enumerate_below(const struct bus *bus, const char *prefix, struct nodes *nodes) {
    _cleanup_(names_done) struct names names = {};
    struct device *device = NULL;
    struct vm *vm;
    int r;

    r = sd_bus_path_decode_many(prefix, TEMPLATE_VM, &names.vm);
    if (r < 0)
        return r;
    if (r > 0) {
        vm = broker_find_vm(bus->broker, names.vm);
        return vm ? vm_each_device(vm, add_device, nodes) : 0;
    }
    r = sd_bus_path_decode_many(prefix, TEMPLATE_DEVICE, &names.vm, &names.device);
    if (r <= 0)
        return r;
    vm = broker_find_vm(bus->broker, names.vm);
    device = vm ? vm_find_device(vm, names.device) : NULL;
    return device ? add_regions(device, nodes) : 0;
}

int bus_enumerate(sd_bus *connection, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *ret_error) {
    _cleanup_(nodes_done) struct nodes nodes = {};
    struct bus *bus = userdata;
    int r;

    if (strcmp(prefix, BUS_PATH_VM) == 0)
        r = broker_each_vm(bus->broker, add_vm, &nodes);
    else
        r = enumerate_below(bus, prefix, &nodes);
    if (r < 0)
        return r;
    *ret_nodes = STEAL(nodes.paths);
    nodes.n = 0;
    return 0;
}
