"""Run tags that mean something to the assets and the launcher."""

# a run with this tag builds what news has reached, instead of everything that is selected
ONLY_NEWS = "leadtrail/only_news"

# the process a run runs in (see `pipeline.processes`), so that a run whose process is gone can be told from one at work
PROCESS = "leadtrail/process"

# nobody waits for a run with this tag: what somebody waits for goes first. Its value says what it does: "sync" or "build"
BACKGROUND = "leadtrail/background"
