"""Run tags that mean something to the assets."""

# a run with this tag asks no provider for news: a busy inbox must not use up a quota
WEBHOOKS_ONLY = "leadtrail/webhooks_only"
