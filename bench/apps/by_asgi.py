"""A watcher that leaves every reply to uvicorn, which writes its head and body one by one."""

from __future__ import annotations

import sys

from dcf.watcher import app
from dcf.watcher.__main__ import main

vars(app)["write_whole"] = lambda *_: False

if __name__ == "__main__":
    sys.exit(main())
