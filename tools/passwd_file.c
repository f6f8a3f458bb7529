/* tools/passwd_file.c -- the password file on disk: read whole, replaced whole. */
#include "tools/passwd_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/policy/passwd.h"

static bool fail(const char *what, const char *path)
{
    fprintf(stderr, "Error: Unable to %s password file %s. %s.\n", what, path, strerror(errno));
    return false;
}

bool passwd_file_look(const char *path, bool may_create)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return (errno == ENOENT && may_create) || fail("open", path);
    close(fd);
    return true;
}

static bool read_all(struct passwd_file *f, int fd)
{
    size_t size = (size_t)f->stat.st_size, have = 0;
    uint8_t *p = malloc(size + 1);

    if (!p)
        return fail("read", f->path);
    while (have < size) {
        ssize_t got = read(fd, p + have, size - have);

        if (got == 0)
            break;
        if (got > 0)
            have += (size_t)got;
        else if (errno != EINTR) {
            free(p);
            return fail("read", f->path);
        }
    }
    f->text = bytes_of(p, have);
    return true;
}

static bool take_text(struct passwd_file *f, int fd)
{
    if (fstat(fd, &f->stat) != 0)
        return fail("open", f->path);
    if (!S_ISREG(f->stat.st_mode) || f->stat.st_size > (off_t)USER_FILE_BYTES_MAX) {
        fprintf(stderr, "Error: %s is not a file of at most %u MiB.\n", f->path,
                USER_FILE_BYTES_MAX >> 20);
        return false;
    }
    if (f->stat.st_mode & S_IROTH)
        fprintf(stderr,
                "Warning: File %s has world readable permissions. Use `chmod 0600 %s` to fix "
                "this.\n",
                f->path, f->path);
    return read_all(f, fd);
}

static bool read_file(struct passwd_file *f, bool may_create)
{
    int fd = open(f->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    bool done;

    if (fd < 0)
        return (errno == ENOENT && may_create) || fail("open", f->path);
    f->is_there = true;
    done = take_text(f, fd);
    close(fd);
    return done;
}

static bool lock_folder(struct passwd_file *f)
{
    char *copy = strdup(f->path);

    f->folder = copy ? strdup(dirname(copy)) : NULL;
    free(copy);
    if (!f->folder)
        return fail("open", f->path);
    f->folder_fd = open(f->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->folder_fd < 0)
        return fail("open the folder of", f->path);
    while (flock(f->folder_fd, LOCK_EX) != 0) {
        if (errno != EINTR)
            return fail("lock the folder of", f->path);
    }
    return true;
}

bool passwd_file_open(struct passwd_file *f, const char *path, bool may_create)
{
    *f = (struct passwd_file){.folder_fd = -1};
    f->path = realpath(path, NULL);
    if (!f->path)
        f->path = strdup(path);
    if (f->path && lock_folder(f) && read_file(f, may_create))
        return true;
    passwd_file_close(f);
    return false;
}

void passwd_file_close(struct passwd_file *f)
{
    if (f->text.p) {
        explicit_bzero((void *)f->text.p, f->text.n);
        free((void *)f->text.p);
    }
    if (f->folder_fd >= 0)
        close(f->folder_fd);
    free(f->folder);
    free(f->path);
    *f = (struct passwd_file){.folder_fd = -1};
}

static bool write_all(int fd, struct bytes text)
{
    while (text.n > 0) {
        ssize_t put = write(fd, text.p, text.n);

        if (put < 0 && errno != EINTR)
            return false;
        if (put > 0) {
            text.p += put;
            text.n -= (uint32_t)put;
        }
    }
    return true;
}

/* A new file is 0600, as mkstemp makes it. The mode comes last: a change of owner may clear it. */
static bool take_over_rights(const struct passwd_file *f, int fd)
{
    struct stat fresh;

    if (!f->is_there)
        return true;
    if (fstat(fd, &fresh) != 0)
        return false;
    if ((fresh.st_uid != f->stat.st_uid || fresh.st_gid != f->stat.st_gid) &&
        fchown(fd, f->stat.st_uid, f->stat.st_gid) != 0)
        return false;
    return fchmod(fd, f->stat.st_mode & 07777) == 0;
}

bool passwd_file_replace(const struct passwd_file *f, struct bytes text)
{
    char *fresh;
    bool done;
    int fd;

    if (asprintf(&fresh, "%s.XXXXXX", f->path) < 0)
        return fail("write", f->path);
    fd = mkostemp(fresh, O_CLOEXEC);
    if (fd < 0) {
        fail("write beside", f->path);
        free(fresh);
        return false;
    }
    done = (take_over_rights(f, fd) || fail("keep owner and mode of", f->path)) &&
           ((write_all(fd, text) && fsync(fd) == 0) || fail("write", f->path));
    if (close(fd) != 0 && done)
        done = fail("write", f->path);
    if (done && rename(fresh, f->path) != 0)
        done = fail("replace", f->path);
    if (!done)
        unlink(fresh);
    else if (fsync(f->folder_fd) != 0)
        fail("flush the folder of", f->path);
    free(fresh);
    return done;
}
