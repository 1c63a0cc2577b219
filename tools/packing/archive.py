"""Archives that are equal to the byte when their files are: in order, of nobody, and of one time."""

import gzip
import pathlib
import tarfile


def pack(folder: pathlib.Path, name: str, epoch: int, archive: pathlib.Path) -> None:
    """Write a .tar.gz in which the files of `folder` lie in one called `name`, none younger than `epoch`."""

    def entry(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        member.mtime = epoch
        return member

    with (
        open(archive, "wb") as file,
        gzip.GzipFile("", "wb", compresslevel=9, fileobj=file, mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as made,
    ):
        made.add(folder, name, filter=entry)
