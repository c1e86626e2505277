"""Which CRM objects are read, and which of their properties. HubSpot gives only what is named."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A type of CRM object. `changed` is the property its changes are found by; `history` names properties whose past we
    keep; `links` is the stream of its associations with contacts ("" for none). A `required` property that the account does not
    have would silently be missing from every record; the others are left out by HubSpot where they do not exist."""

    name: str
    changed: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    history: tuple[str, ...] = ()
    links: str = ""

    @property
    def properties(self) -> tuple[str, ...]:
        return (*self.required, *self.optional)

    @property
    def page(self) -> int:
        return 50 if self.history else 100  # HubSpot halves its limit when it must give history


CONTACTS = Kind(
    "contacts",
    changed="lastmodifieddate",  # hs_lastmodifieddate also moves when HubSpot recomputes something
    required=("hs_object_id", "createdate", "lastmodifieddate", "firstname", "lastname", "email", "phone"),
    optional=(
        "mobilephone",
        "hs_additional_emails",
        "address",
        "city",
        "state",
        "zip",
        "company",
        "lifecyclestage",
        "hs_lead_status",
        "hubspot_owner_id",
        "hs_analytics_source",
        "hs_analytics_source_data_1",
        "hs_analytics_source_data_2",
        "hs_latest_source",
        "hs_latest_source_timestamp",
        "hs_object_source_label",
        "hs_merged_object_ids",
        "hs_email_optout",
        "hs_marketable_status",
        "notes_last_contacted",
        "recent_conversion_date",
    ),
)
DEALS = Kind(
    "deals",
    changed="hs_lastmodifieddate",
    required=("hs_object_id", "createdate", "hs_lastmodifieddate", "dealname", "dealstage", "pipeline", "amount"),
    optional=(
        "closedate",
        "closed_lost_reason",
        "closed_won_reason",
        "hs_is_closed",
        "hs_is_closed_won",
        "hs_analytics_source",
        "hubspot_owner_id",
        "deal_currency_code",
    ),
    history=("dealstage",),
    links="deal_contacts",
)
TASKS = Kind(
    "tasks",
    changed="hs_lastmodifieddate",
    required=(
        "hs_object_id",
        "hs_createdate",
        "hs_lastmodifieddate",
        "hs_timestamp",
        "hs_task_subject",
        "hs_task_status",
    ),
    optional=(
        "hs_task_body",
        "hs_task_priority",
        "hs_task_type",
        "hs_task_completion_date",
        "hubspot_owner_id",
    ),
    links="task_contacts",
)
KINDS = {kind.name: kind for kind in (CONTACTS, DEALS, TASKS)}
LINKS = {kind.links: kind for kind in KINDS.values() if kind.links}
