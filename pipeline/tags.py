"""Run tags that mean something to the assets."""

# a run with this tag asks no provider for news: a busy inbox must not use up a quota
WEBHOOKS_ONLY = "leadtrail/webhooks_only"

# the process a run runs in (see `pipeline.processes`), so that a run whose process is gone can be told from one at work
PROCESS = "leadtrail/process"

# nobody waits for a run with this tag: what somebody waits for goes first
BACKGROUND = "leadtrail/background"
