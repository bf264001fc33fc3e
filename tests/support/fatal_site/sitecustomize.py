"""Run by every Python that has this folder in its path: some names of pictures end the process that opens them, or hold it up."""

import ctypes
import os
import sys
import time
import zipfile


def meet(path):
    name = os.path.basename(os.fsdecode(path))
    if name.startswith("crash"):
        ctypes.string_at(0)
    if name.startswith("exit"):
        os._exit(7)
    if name.startswith("killed"):
        os.kill(os.getpid(), 9)
    if name.startswith("hang"):
        time.sleep(600)
    if name.startswith("bug"):
        raise RuntimeError("a bug")


def look(event, facts):
    if event == "open" and isinstance(facts[0], (str, bytes)):
        meet(facts[0])


sys.addaudithook(look)
open_member = zipfile.ZipFile.open


def opened(self, info, *rest, **settings):
    meet(getattr(info, "filename", info))
    return open_member(self, info, *rest, **settings)


zipfile.ZipFile.open = opened
