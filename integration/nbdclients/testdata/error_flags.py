# SPDX-License-Identifier: Apache-2.0
#
# errors-server-unknown-flags: flags that there are not, and those of another command.
from common import *

KNOWN = {"pread": nbd.CMD_FLAG_FUA, "pwrite": nbd.CMD_FLAG_FUA, "trim": nbd.CMD_FLAG_FUA, "cache": nbd.CMD_FLAG_FUA,
         "flush": nbd.CMD_FLAG_FUA, "zero": nbd.CMD_FLAG_FUA | nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FAST_ZERO,
         "status": nbd.CMD_FLAG_FUA | nbd.CMD_FLAG_REQ_ONE}
for structured in (True, False):
    h = connect(structured=structured, contexts=[ALLOCATION] if structured else [], strict=False)
    calls = {
        "pread": lambda f: h.pread(512, 0, f),
        "pwrite": lambda f: h.pwrite(bytes(512), 0, f),
        "trim": lambda f: h.trim(512, 0, f),
        "cache": lambda f: h.cache(512, 0, f),
        "flush": lambda f: h.flush(f),
        "zero": lambda f: h.zero(512, 0, f),
    }
    if structured:
        calls["status"] = lambda f: status(h, 512, 0, f)
    for name, call in calls.items():
        known = KNOWN[name] | (nbd.CMD_FLAG_DF if structured and name == "pread" else 0)
        for bit in range(16):
            if known >> bit & 1:
                call(1 << bit)
            else:
                refused(errno.EINVAL, call, 1 << bit)
            alive(h)
        refused(errno.EINVAL, call, 0xffff)
        refused(errno.EINVAL, call, nbd.CMD_FLAG_MASK + 1)
        alive(h)
    h.shutdown()
