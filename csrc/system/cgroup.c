/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources: cgroups(7), proc(5); kernel Documentation/admin-guide/cgroup-v1/memory.rst (notification API, oom_control;
 * its counter oom_kill since 4.13) and cgroup-v2.rst (memory.events, memory.peak since 5.19, cpu.stat).
 */
#include "system/cgroup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>

#include "util/fd.h"

/* Where a hierarchy is mounted, and where the process is in it; empty texts: not known. */
struct place {
    char mount[PATH_MAX];
    char root[PATH_MAX]; /* which folder of the hierarchy is seen at `mount` */
    char path[PATH_MAX]; /* the process's, from the hierarchy's root */
};

/* Some 60 KiB in all, so it is mapped for the time of the search and never on the stack of a process that stays for
 * days. */
struct places {
    struct place memory, cpu; /* v1 */
    struct place unified; /* v2 */
    char text[16384]; /* for reading lines */
    char folder[2 * PATH_MAX + 2]; /* for opening one */
};

/* Calls `take` with each line (NUL-terminated, without its newline) of a file; lines that are too long are left out. */
static void each_line(const char *path, void (*take)(struct places *, char *), struct places *places)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *buffer = places->text;
    size_t size = 0;
    bool skip = false; /* in the middle of a line that is too long */
    ssize_t n;

    if (fd < 0)
        return;
    while ((n = read(fd, buffer + size, sizeof(places->text) - size)) > 0 || (n < 0 && errno == EINTR)) {
        char *line = buffer;
        char *newline;

        size += n > 0 ? (size_t)n : 0;
        while ((newline = memchr(line, '\n', (size_t)(buffer + size - line))) != NULL) {
            *newline = '\0';
            if (!skip)
                take(places, line);
            skip = false;
            line = newline + 1;
        }
        size = (size_t)(buffer + size - line);
        memmove(buffer, line, size);
        if (size == sizeof(places->text)) {
            skip = true;
            size = 0;
        }
    }
}

/* Whether a comma-separated list has the word. */
static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = list; (at = strstr(at, word)) != NULL; at += length) {
        if ((at == list || at[-1] == ',') && (at[length] == '\0' || at[length] == ','))
            return true;
    }
    return false;
}

static void copy_text(char to[PATH_MAX], const char *from)
{
    size_t length = strlen(from);

    if (length < PATH_MAX)
        memcpy(to, from, length + 1);
}

/* A field of mountinfo, where blanks, tabs, newlines and backslashes stand as three octal digits. */
static void copy_field(char to[PATH_MAX], const char *from)
{
    size_t size = 0;

    for (; *from != '\0' && size < PATH_MAX - 1; size++) {
        if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' && from[2] <= '7' && from[3] >= '0' &&
            from[3] <= '7') {
            to[size] = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            to[size] = *from++;
        }
    }
    to[size] = '\0';
}

/* ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [OPTIONAL...] - TYPE SOURCE SUPER_OPTIONS; the last mount at a place
 * wins. */
static void take_mount(struct places *places, char *line)
{
    char *separator = strstr(line, " - cgroup");
    char *save = NULL;
    char *type, *options, *root, *mount;
    struct place *found[2] = {NULL, NULL};

    if (separator == NULL)
        return;
    *separator = '\0';
    type = strtok_r(separator + 3, " ", &save);
    if (type == NULL || strtok_r(NULL, " ", &save) == NULL || (options = strtok_r(NULL, " ", &save)) == NULL)
        return;
    if (strcmp(type, "cgroup2") == 0) {
        found[0] = &places->unified;
    } else if (strcmp(type, "cgroup") == 0) {
        found[0] = has_word(options, "memory") ? &places->memory : NULL;
        found[1] = has_word(options, "cpuacct") ? &places->cpu : NULL;
    }
    save = NULL;
    if (strtok_r(line, " ", &save) == NULL || strtok_r(NULL, " ", &save) == NULL || strtok_r(NULL, " ", &save) == NULL)
        return;
    root = strtok_r(NULL, " ", &save);
    mount = strtok_r(NULL, " ", &save);
    if (mount == NULL)
        return;
    for (size_t i = 0; i < 2; i++) {
        if (found[i] != NULL) {
            copy_field(found[i]->root, root);
            copy_field(found[i]->mount, mount);
        }
    }
}

/* HIERARCHY:CONTROLLERS:PATH */
static void take_membership(struct places *places, char *line)
{
    static const char deleted[] = " (deleted)";
    char *controllers = strchr(line, ':');
    char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    size_t length;

    if (path == NULL)
        return;
    *path++ = '\0';
    controllers++;
    length = strlen(path);
    if (length >= sizeof(deleted) && strcmp(path + length - (sizeof(deleted) - 1), deleted) == 0)
        path[length - (sizeof(deleted) - 1)] = '\0';
    if (controllers[0] == '\0' && strncmp(line, "0:", 2) == 0)
        copy_text(places->unified.path, path);
    if (has_word(controllers, "memory"))
        copy_text(places->memory.path, path);
    if (has_word(controllers, "cpuacct"))
        copy_text(places->cpu.path, path);
}

/*
 * The folder of the process, as a descriptor, or -1. The root cgroup counts as not known: v1 shows it for a zombie, and
 * its figures are the whole machine's. A path with ".." leads out of our cgroup namespace. *own: it is the one of the
 * hint.
 */
static int open_place(struct places *places, const struct place *place, const char *hint, bool *own)
{
    const char *below = place->path;
    size_t root = strcmp(place->root, "/") == 0 ? 0 : strlen(place->root);

    if (place->mount[0] == '\0')
        return -1;
    if (below[0] == '\0' || strcmp(below, "/") == 0 || strncmp(below, "/..", 3) == 0)
        below = hint;
    /* "slice:prefix:name" is a hint for systemd, no path. */
    if (below[strspn(below, "/")] == '\0' || strchr(below, ':') != NULL || strstr(below, "..") != NULL)
        return -1;
    if (root > 0 && strncmp(below, place->root, root) == 0 && (below[root] == '/' || below[root] == '\0'))
        below += root;
    below += strspn(below, "/");
    *own = strcmp(below, hint + strspn(hint, "/")) == 0;
    snprintf(places->folder, sizeof(places->folder), "%s/%s", place->mount, below);
    return open(places->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int open_file(int folder, const char *name)
{
    return folder < 0 ? -1 : openat(folder, name, O_RDONLY | O_CLOEXEC);
}

/* The text of a cgroup file; "" when it can't be read (ENODEV: the cgroup is gone). */
static void read_text(int fd, char *text, size_t capacity)
{
    ssize_t n = fd < 0 ? -1 : pread(fd, text, capacity - 1, 0);

    text[n > 0 ? n : 0] = '\0';
}

static bool parse_number(const char *text, uint64_t *value)
{
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno == 0 && (*end == '\n' || *end == '\0');
}

/* The value of a line "NAME VALUE"; an empty name: of a file that is nothing but a number. */
static bool read_value(int fd, const char *name, uint64_t *value)
{
    char text[1024];
    size_t length = strlen(name);

    read_text(fd, text, sizeof(text));
    if (length == 0)
        return parse_number(text, value);
    for (const char *line = text; line != NULL && *line != '\0';) {
        const char *newline = strchr(line, '\n');

        if (strncmp(line, name, length) == 0 && line[length] == ' ')
            return parse_number(line + length + 1, value);
        line = newline != NULL ? newline + 1 : NULL;
    }
    return false;
}

/* An eventfd that the kernel signals when the cgroup runs out of memory (also, without that, when it is removed). */
static int watch_v1(int folder, int oom_fd)
{
    CLEANUP_FD int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CLEANUP_FD int control = openat(folder, "cgroup.event_control", O_WRONLY | O_CLOEXEC);
    char text[32];
    int length = snprintf(text, sizeof(text), "%d %d", event, oom_fd);

    if (event < 0 || control < 0 || oom_fd < 0 || write(control, text, (size_t)length) != length)
        return -1;
    return fd_take(&event);
}

/* memory.events is reported as modified at each change of a counter. */
static int watch_v2(int oom_fd)
{
    CLEANUP_FD int event = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    char path[32];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", oom_fd);
    if (event < 0 || oom_fd < 0 || inotify_add_watch(event, path, IN_MODIFY) < 0)
        return -1;
    return fd_take(&event);
}

void cgroup_init(struct cgroup *cgroup)
{
    *cgroup = (struct cgroup){.event_fd = -1, .oom_fd = -1, .cpu_fd = -1, .peak_fd = -1};
}

void cgroup_open(struct cgroup *cgroup, pid_t pid, const char *hint)
{
    struct places *places = mmap(NULL, sizeof(*places), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool own_v2 = false, own_cpu = false, own = false;
    CLEANUP_FD int memory = -1;
    CLEANUP_FD int cpu = -1;
    CLEANUP_FD int unified = -1;
    char path[64];

    cgroup_init(cgroup);
    if (places == MAP_FAILED)
        return;
    snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    each_line(path, take_membership, places);
    each_line("/proc/self/mountinfo", take_mount, places);
    unified = open_place(places, &places->unified, hint, &own_v2);
    cpu = open_place(places, &places->cpu, hint, &own_cpu);
    memory = open_place(places, &places->memory, hint, &own);
    munmap(places, sizeof(*places));

    if (memory >= 0) {
        cgroup->version = 1;
        cgroup->oom_fd = open_file(memory, "memory.oom_control");
        cgroup->peak_fd = open_file(memory, "memory.max_usage_in_bytes");
        cgroup->event_fd = watch_v1(memory, cgroup->oom_fd);
    } else {
        /* In a hybrid set-up without the v1 memory controller these may be missing, like everywhere before their
         * kernel. */
        cgroup->oom_fd = open_file(unified, "memory.events");
        cgroup->peak_fd = open_file(unified, "memory.peak");
        cgroup->event_fd = watch_v2(cgroup->oom_fd);
        cgroup->version = unified >= 0 ? 2 : cpu >= 0 ? 1 : 0;
        own = own_v2;
    }
    cgroup->cpu_fd = cpu >= 0 ? open_file(cpu, "cpuacct.usage") : open_file(unified, "cpu.stat");
    /* A cgroup that was made for this container counts from its beginning: the kill may be over already. */
    if (!own)
        read_value(cgroup->oom_fd, "oom_kill", &cgroup->oom_kills_before);
}

static void read_oom(struct cgroup *cgroup)
{
    uint64_t kills;

    if (read_value(cgroup->oom_fd, "oom_kill", &kills) && kills > cgroup->oom_kills_before)
        cgroup->oom = true;
}

void cgroup_event(struct cgroup *cgroup)
{
    char events[256];

    /* The number of events tells nothing: v1 counts the want of memory before the kill, and the removal of the cgroup.
     */
    while (cgroup->event_fd >= 0 && read(cgroup->event_fd, events, sizeof(events)) > 0)
        ;
    read_oom(cgroup);
}

void cgroup_read(struct cgroup *cgroup)
{
    uint64_t value;

    read_oom(cgroup);
    /* cpuacct.usage (v1) is a bare number of nanoseconds; cpu.stat (v2) has lines, in microseconds. */
    if (read_value(cgroup->cpu_fd, "", &value))
        cgroup->cpu_ns = value;
    else if (read_value(cgroup->cpu_fd, "usage_usec", &value))
        cgroup->cpu_ns = value * 1000;
    if (read_value(cgroup->peak_fd, "", &value))
        cgroup->peak_bytes = value;
}

void cgroup_deinit(struct cgroup *cgroup)
{
    fd_close(&cgroup->event_fd);
    fd_close(&cgroup->oom_fd);
    fd_close(&cgroup->cpu_fd);
    fd_close(&cgroup->peak_fd);
}
