"""Read by every Python that starts with this folder on its path: makes the sandbox's town one of canaries."""

import sys

if "sandbox" in sys.orig_argv:
    from tests.canary_town import plant

    plant()
