"""A ConfigMap or Secret as a kubelet lays it into a container: links into a folder that is swapped as a whole."""

import itertools
import os
import shutil


class Mounted:
    """In `folder`, which is made: these files, {name: text}.

    group  of files that are for nobody else, as a Secret's with fsGroup; None for those that all may read
    """

    def __init__(self, folder, files, group=None):
        self.folder = folder
        self._group = group
        self._numbers = itertools.count(1)
        folder.mkdir(mode=0o755)
        self.swap(files)

    def swap(self, files):
        """Let these be its files: `..data` leads to all the new ones in one step."""
        data, fresh = self.folder / "..data", self.folder / "..data_tmp"
        old = data.resolve() if data.is_symlink() else None
        made = self.folder / f"..2026_11_26_13_00_00.{next(self._numbers)}"
        made.mkdir(mode=0o755)
        for name, text in files.items():
            (made / name).write_text(text)
            if self._group is not None:
                os.chown(made / name, 0, self._group)
                (made / name).chmod(0o440)
        fresh.symlink_to(made.name)
        fresh.rename(data)
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        for path in self.folder.iterdir():
            if path.name not in files and not path.name.startswith(".."):
                path.unlink()
        if old is not None:
            shutil.rmtree(old)
