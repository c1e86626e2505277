"""What every HubSpot account has: object types with their numeric names, properties, and association types."""

from __future__ import annotations

# every account has these types; nobody in town uses them, but other connectors ask for them
UNUSED = {
    "products": "0-7",
    "line_items": "0-8",
    "quotes": "0-14",
    "feedback_submissions": "0-19",
    "forms": "0-28",
    "deal_splits": "0-72",
    "goal_targets": "0-74",
}
NUMBERS = {
    "contacts": "0-1",
    "companies": "0-2",
    "deals": "0-3",
    "tickets": "0-5",
    "communications": "0-18",
    "tasks": "0-27",
    "notes": "0-46",
    "meetings": "0-47",
    "calls": "0-48",
    "emails": "0-49",
    "leads": "0-136",
    **UNUSED,
}
SINGULAR = {"companies": "company", **{name: name[:-1] for name in NUMBERS if name != "companies"}}
_NAMES = {alias: name for name in NUMBERS for alias in (name, SINGULAR[name], NUMBERS[name])}

ENGAGEMENTS = frozenset({"communications", "tasks", "notes", "meetings", "calls", "emails"})


def kind_of(name: str) -> str | None:
    """contacts, contact and 0-1 are one type."""
    return _NAMES.get(name.lower())


def scope_of(kind: str) -> str:
    """Engagements ride on the contacts scopes."""
    return {"companies": "companies", "deals": "deals"}.get(kind, "contacts")


# from, to -> association type id (HUBSPOT_DEFINED). Direction matters.
ASSOCIATIONS = {
    ("tasks", "contacts"): 204,
    ("contacts", "tasks"): 203,
    ("tasks", "deals"): 216,
    ("deals", "tasks"): 215,
    ("tasks", "companies"): 192,
    ("companies", "tasks"): 191,
    ("tasks", "tickets"): 230,
    ("tickets", "tasks"): 229,
    ("notes", "contacts"): 202,
    ("contacts", "notes"): 201,
    ("notes", "deals"): 214,
    ("deals", "notes"): 213,
    ("notes", "companies"): 190,
    ("companies", "notes"): 189,
    ("calls", "contacts"): 194,
    ("contacts", "calls"): 193,
    ("calls", "deals"): 206,
    ("deals", "calls"): 205,
    ("communications", "contacts"): 81,
    ("contacts", "communications"): 82,
    ("communications", "deals"): 85,
    ("deals", "communications"): 86,
    ("deals", "contacts"): 3,
    ("contacts", "deals"): 4,
    ("deals", "companies"): 341,
    ("companies", "deals"): 342,
    ("contacts", "companies"): 279,
    ("companies", "contacts"): 280,
    ("emails", "contacts"): 198,
    ("contacts", "emails"): 197,
}

_SYSTEM = {"hs_object_id": "number", "hs_lastmodifieddate": "datetime", "hs_object_source_label": "string"}
_RECORD = {**_SYSTEM, "createdate": "datetime", "hubspot_owner_id": "enumeration"}
_ENGAGEMENT = {
    **_SYSTEM,
    "hs_createdate": "datetime",
    "hs_timestamp": "datetime",
    "hubspot_owner_id": "enumeration",
    "hs_attachment_ids": "string",
}

# type -> property -> HubSpot data type
PROPERTIES: dict[str, dict[str, str]] = {
    "contacts": {
        **_RECORD,
        "lastmodifieddate": "datetime",
        **dict.fromkeys(("firstname", "lastname", "email", "address", "city", "state", "zip", "company"), "string"),
        **dict.fromkeys(("phone", "mobilephone", "hs_calculated_phone_number"), "phone_number"),
        "hs_searchable_calculated_phone_number": "phone_number",
        **dict.fromkeys(("hs_additional_emails", "hs_merged_object_ids", "hs_calculated_merged_vids"), "string"),
        **dict.fromkeys(("lifecyclestage", "hs_lead_status", "hs_analytics_source", "hs_latest_source"), "enumeration"),
        **dict.fromkeys(("hs_analytics_source_data_1", "hs_analytics_source_data_2", "hs_marketable_status"), "string"),
        **dict.fromkeys(("hs_latest_source_timestamp", "notes_last_contacted", "recent_conversion_date"), "datetime"),
        "hs_email_optout": "bool",
    },
    "deals": {
        **_RECORD,
        **dict.fromkeys(("dealname", "closed_lost_reason", "closed_won_reason", "deal_currency_code"), "string"),
        **dict.fromkeys(("dealstage", "pipeline", "hs_analytics_source"), "enumeration"),
        "amount": "number",
        "closedate": "datetime",
        "hs_is_closed": "bool",
        "hs_is_closed_won": "bool",
    },
    "tasks": {
        **_ENGAGEMENT,
        **dict.fromkeys(("hs_task_subject", "hs_task_body"), "string"),
        **dict.fromkeys(("hs_task_status", "hs_task_priority", "hs_task_type"), "enumeration"),
        **dict.fromkeys(("hs_task_reminders", "hs_task_completion_date"), "datetime"),
        "hs_task_is_completed": "bool",
    },
    "notes": {**_ENGAGEMENT, "hs_note_body": "string"},
    "calls": {
        **_ENGAGEMENT,
        **dict.fromkeys(("hs_call_title", "hs_call_body", "hs_call_from_number", "hs_call_to_number"), "string"),
        **dict.fromkeys(("hs_call_recording_url", "hs_call_disposition"), "string"),
        **dict.fromkeys(("hs_call_direction", "hs_call_status"), "enumeration"),
        "hs_call_duration": "number",
    },
    "communications": {
        **_ENGAGEMENT,
        **dict.fromkeys(("hs_communication_channel_type", "hs_communication_logged_from"), "enumeration"),
        "hs_communication_body": "string",
    },
    "meetings": {**_ENGAGEMENT, "hs_meeting_title": "string"},
    "emails": {**_ENGAGEMENT, "hs_email_subject": "string"},
    "companies": {**_RECORD, "name": "string", "domain": "string", "phone": "phone_number"},
    "tickets": {**_RECORD, "subject": "string", "hs_pipeline": "enumeration", "hs_pipeline_stage": "enumeration"},
    "leads": {**_RECORD, "hs_lead_name": "string"},
    **dict.fromkeys(UNUSED, _RECORD),
}

# given when a caller names no properties
DEFAULTS = {
    "contacts": ("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname"),
    "deals": (
        "amount",
        "closedate",
        "createdate",
        "dealname",
        "dealstage",
        "hs_lastmodifieddate",
        "hs_object_id",
        "pipeline",
    ),
    **dict.fromkeys(ENGAGEMENTS, ("hs_createdate", "hs_lastmodifieddate", "hs_object_id")),
}
DEFAULT = ("createdate", "hs_lastmodifieddate", "hs_object_id")

READ_ONLY = frozenset(
    {
        "hs_object_id",
        "createdate",
        "hs_createdate",
        "lastmodifieddate",
        "hs_lastmodifieddate",
        "hs_analytics_source",
        "hs_analytics_source_data_1",
        "hs_analytics_source_data_2",
        "hs_latest_source",
        "hs_email_optout",
        "hs_merged_object_ids",
        "hs_is_closed",
        "hs_is_closed_won",
        "hs_searchable_calculated_phone_number",
        "hs_task_is_completed",
    }
)
REQUIRED = {
    "tasks": ("hs_timestamp",),
    "notes": ("hs_timestamp",),
    "calls": ("hs_timestamp",),
    "communications": ("hs_timestamp", "hs_communication_channel_type"),
    "deals": ("dealname", "dealstage", "pipeline"),
}
OPTIONS = {
    "hs_task_status": ("NOT_STARTED", "IN_PROGRESS", "WAITING", "DEFERRED", "COMPLETED"),
    "hs_task_priority": ("NONE", "LOW", "MEDIUM", "HIGH"),
    "hs_task_type": ("TODO", "CALL", "EMAIL"),
    "hs_communication_channel_type": ("SMS", "WHATS_APP", "LINKEDIN_MESSAGE"),
    "hs_communication_logged_from": ("CRM",),
    "lifecyclestage": (
        "subscriber",
        "lead",
        "marketingqualifiedlead",
        "salesqualifiedlead",
        "opportunity",
        "customer",
        "evangelist",
        "other",
    ),
}


def created_property(kind: str) -> str:
    return "hs_createdate" if kind in ENGAGEMENTS else "createdate"


def changed_property(kind: str) -> str:
    return "lastmodifieddate" if kind == "contacts" else "hs_lastmodifieddate"


def property_body(kind: str, name: str, type_: str, *, unique: bool = False) -> dict[str, object]:
    """One property as the properties API describes it."""
    field = {"enumeration": "select", "datetime": "date", "bool": "booleancheckbox", "number": "number"}.get(
        type_, "text"
    )
    return {
        "name": name,
        "label": name.removeprefix("hs_").replace("_", " ").capitalize(),
        "type": type_,
        "fieldType": "phonenumber" if type_ == "phone_number" else field,
        "description": "",
        "groupName": f"{SINGULAR[kind]}information" if kind not in ENGAGEMENTS else SINGULAR[kind],
        "options": [
            {"label": option, "value": option, "displayOrder": i, "hidden": False}
            for i, option in enumerate(OPTIONS.get(name, ()))
        ],
        "displayOrder": -1,
        "calculated": name in READ_ONLY,
        "externalOptions": name == "hubspot_owner_id",
        "hasUniqueValue": unique or name == "hs_object_id",
        "hidden": False,
        "formField": name in ("firstname", "lastname", "email", "phone"),
        "modificationMetadata": {
            "archivable": unique,
            "readOnlyDefinition": not unique,
            "readOnlyValue": name in READ_ONLY,
        },
    }
