"""What is kept no longer than it may be, as an asset that runs every night."""

from datetime import UTC, datetime

import dagster as dg

from pipeline.office import Office
from pipeline.privacy.retention import keep_no_longer

KEY = dg.AssetKey(["privacy", "retention"])


@dg.asset(
    key=KEY,
    group_name="privacy",
    owners=["team:data"],
    kinds={"python"},
    pool="warehouse",
    description="Deletes personal data that is past its time, by class: people unheard of for years, webhooks, quarantine, logs, "
    "sign-ins, older published copies. One number for each.",
)
def retention(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    done = keep_no_longer(Office.from_env(), now=datetime.now(UTC), tell=context.log.info)
    return dg.MaterializeResult(metadata=dict(done))
