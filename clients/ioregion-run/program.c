/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "internal/cleanup.h"

/* As execvp(3): one that may not be run is told only if no later folder has one that may. */
int program_find(const char *name, char ret_path[PATH_MAX]) {
    _cleanup_(freep) char *folders = strdup(getenv("PATH") ?: "/usr/local/bin:/usr/bin:/bin");
    char path[PATH_MAX], *rest = folders, *folder = strchr(name, '/') ? NULL : "";
    int result = -ENOENT;

    if (!folders)
        return -ENOMEM;
    do {
        struct stat status;

        if (folder && !(folder = strsep(&rest, ":")))
            return result;
        if (snprintf(path, sizeof(path), "%s%s%s", folder ?: "", folder && *folder ? "/" : "", name) >= PATH_MAX ||
            stat(path, &status) < 0 || S_ISDIR(status.st_mode))
            continue;
        if (access(path, X_OK) == 0) {
            strcpy(ret_path, path);
            return 0;
        }
        result = -EACCES;
    } while (folder);
    return result;
}

/* What the kernel says of an executable file to the loader: the class and machine it is for, and which loader. */
struct image {
    unsigned char class;
    ElfW(Half) machine;
    char loader[256]; /* "" for a static program */
};

static int read_loader(int fd, const ElfW(Ehdr) *header, struct image *ret_image) {
    for (unsigned i = 0; i < header->e_phnum; i++) {
        ElfW(Phdr) segment;

        if (pread(fd, &segment, sizeof(segment), (off_t) (header->e_phoff + i * sizeof(segment))) != sizeof(segment))
            return -EIO;
        if (segment.p_type != PT_INTERP)
            continue;
        if (segment.p_filesz >= sizeof(ret_image->loader) ||
            pread(fd, ret_image->loader, segment.p_filesz, (off_t) segment.p_offset) != (ssize_t) segment.p_filesz)
            return -EIO;
    }
    return 0;
}

/* -ENOEXEC when it is no ELF file at all. */
static int read_image(int fd, struct image *ret_image) {
    ElfW(Ehdr) header = {0};
    ssize_t n = pread(fd, &header, sizeof(header), 0);

    if (n < 0)
        return -errno;
    if (n < (ssize_t) sizeof(header) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return -ENOEXEC;
    *ret_image = (struct image){.class = header.e_ident[EI_CLASS], .machine = header.e_machine};
    if (header.e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) ||
        header.e_phentsize != sizeof(ElfW(Phdr)))
        return 0;
    return read_loader(fd, &header, ret_image);
}

static int unfit(char *why, size_t size, const char *words) {
    snprintf(why, size, "%s", words);
    return -ENOEXEC;
}

static int check_image(int fd, char *why, size_t size) {
    _cleanup_(fd_closep) int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct image ours, image;
    int r;

    if (self < 0)
        return -errno;
    r = read_image(self, &ours);
    if (r < 0)
        return r;
    r = read_image(fd, &image);
    if (r == -ENOEXEC)
        return unfit(why, size, "it is no program but a script, say: name the VMM itself");
    if (r < 0)
        return r;
    if (image.class != ours.class || image.machine != ours.machine)
        return unfit(why, size, "it is for another kind of machine than ioregion-run");
    if (!image.loader[0])
        return unfit(why, size, "it is linked statically, and no library can be put before it");
    if (strcmp(image.loader, ours.loader) != 0) {
        snprintf(why, size, "its loader is %.100s, and the library is for %.100s", image.loader, ours.loader);
        return -ENOEXEC;
    }
    return 0;
}

int program_check(const char *path, char *why, size_t size) {
    _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;

    if (fd < 0 && errno == EACCES)
        return unfit(why, size, "it can be run but not read, and its loader takes no library from us");
    if (fd < 0 || fstat(fd, &status) < 0)
        return -errno;
    if (status.st_mode & (S_ISUID | S_ISGID))
        return unfit(why, size, "it is setuid or setgid, and its loader takes no library from us");
    if (fgetxattr(fd, "security.capability", NULL, 0) > 0)
        return unfit(why, size, "it has file capabilities, and its loader takes no library from us");
    return check_image(fd, why, size);
}
