"""What the kernel says where it has no descriptor, or no memory for one, to give."""

import errno

NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
