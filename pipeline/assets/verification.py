"""The running system, looked at from outside, as a check of what clients read."""

from datetime import UTC, datetime

import dagster as dg

from pipeline.assets.client_safe import PUBLICATIONS
from pipeline.office import Office
from pipeline.verification.verify import verify

VERIFIED = "the_running_system_is_verified"


@dg.asset_check(
    asset=PUBLICATIONS,
    name=VERIFIED,
    description="What `leadtrail verify` looks at: desk, portal at two widths, webhooks, queue, freshness, observability.",
)
def running_system() -> dg.AssetCheckResult:
    made = verify(Office.from_env(), owner="team:client-success", now=datetime.now(UTC))
    return dg.AssetCheckResult(
        passed=made.ok,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "verification": made.verification_id,
            "seconds": made.took_seconds,
            "lines": dg.MetadataValue.table(
                records=[
                    dg.TableRecord({"what": one.what, "level": one.level, "to do": one.fix}) for one in made.findings
                ],
                schema=dg.TableSchema([dg.TableColumn(name, "string") for name in ("what", "level", "to do")]),
            ),
        },
    )
