"""The steps of the core as tracked, scheduled Prefect flows.

Prefect reads the environment when it is imported, so this package speaks first: whatever it
starts tells nobody outside. Who wants Prefect's own analytics sets the variables differently.
"""

import os

# Prefect's client and its server tell its makers of their use; the server's newer pages call an
# analytics host, the older ones nobody.
TOLD_TO_NOBODY = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
}
for _name, _value in TOLD_TO_NOBODY.items():
    os.environ.setdefault(_name, _value)
