/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "request.h"

struct register_request *register_request_free(struct register_request *request) {
    if (!request)
        return NULL;
    fd_close(request->vm_fd);
    fd_close(request->process);
    free(request->reserve);
    free(request->name);
    free(request);
    return NULL;
}

struct attach_request *attach_request_free(struct attach_request *request) {
    if (!request)
        return NULL;
    free(request->interrupts);
    free(request->regions);
    free(request->device);
    free(request->vm);
    free(request);
    return NULL;
}
