"""PyAirbyte with a declarative source equivalent to ours, into its DuckDB cache.

Runs in its own environment (peers-airbyte.lock), without network: the manifest is given, and no registry is asked. CallRail's
own published connector is not used: its version does not run on Python 3.11, and it reads by pages of 100.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

TEXTS = """id direction company_id company_time_zone person_id call_type customer_name customer_phone_number customer_city
    customer_state customer_country zip_code tracking_phone_number business_phone_number lead_status note call_summary source
    source_name medium campaign keywords landing_page_url utm_source utm_campaign gclid device_type recording recording_duration
    recording_player value"""
OTHERS: dict[str, Any] = {
    "start_time": {"type": ["null", "string"], "format": "date-time"},
    "created_at": {"type": ["null", "string"], "format": "date-time"},
    **{name: {"type": ["null", "boolean"]} for name in ("answered", "voicemail", "first_call")},
    **{name: {"type": ["null", "integer"]} for name in ("duration", "prior_calls", "total_calls")},
    "tags": {"type": ["null", "array"], "items": {"type": "string"}},
}


def manifest(origin: str) -> dict[str, Any]:
    """A low-code source: one stream of calls, by page."""
    properties = {**{name: {"type": ["null", "string"]} for name in TEXTS.split()}, **OTHERS}
    schema = {"type": "object", "additionalProperties": True, "properties": properties}
    return {
        "version": "6.0.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": ["calls"]},
        "streams": [
            {
                "type": "DeclarativeStream",
                "name": "calls",
                "primary_key": ["id"],
                "schema_loader": {"type": "InlineSchemaLoader", "schema": schema},
                "retriever": {
                    "type": "SimpleRetriever",
                    "requester": {
                        "type": "HttpRequester",
                        "url_base": f"{origin}/v3/a/ACC1/",
                        "path": "calls.json",
                        "http_method": "GET",
                    },
                    "record_selector": {
                        "type": "RecordSelector",
                        "extractor": {"type": "DpathExtractor", "field_path": ["calls"]},
                    },
                    "paginator": {
                        "type": "DefaultPaginator",
                        "page_token_option": {
                            "type": "RequestOption",
                            "inject_into": "request_parameter",
                            "field_name": "page",
                        },
                        "page_size_option": {
                            "type": "RequestOption",
                            "inject_into": "request_parameter",
                            "field_name": "per_page",
                        },
                        "pagination_strategy": {
                            "type": "PageIncrement",
                            "page_size": 250,
                            "start_from_page": 1,
                            "inject_on_first_request": True,
                        },
                    },
                },
            }
        ],
        "spec": {
            "type": "Spec",
            "connection_specification": {"type": "object", "properties": {}, "additionalProperties": True},
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--origin", required=True)
    parser.add_argument("--records", type=int, required=True)
    args = parser.parse_args()
    args.home.mkdir(parents=True, exist_ok=True)
    os.chdir(args.home)
    os.environ.update({"DO_NOT_TRACK": "1", "AIRBYTE_OFFLINE_MODE": "1", "AIRBYTE_PROJECT_DIR": str(args.home)})
    import airbyte
    from airbyte.caches import DuckDBCache

    source = airbyte.get_source("source-bench", source_manifest=manifest(args.origin), config={})
    source.select_streams(["calls"])
    cache = DuckDBCache(db_path=args.home / "airbyte.duckdb", schema_name="callrail")
    result = source.read(cache=cache, force_full_refresh=True)
    if result.processed_records != args.records:
        raise SystemExit(f"{result.processed_records} of {args.records} calls arrived")


if __name__ == "__main__":
    sys.exit(main())
