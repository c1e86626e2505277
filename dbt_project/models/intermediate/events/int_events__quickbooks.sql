{{ config(materialized='incremental', incremental_strategy='touched_records', post_hook="{{ note_progress() }}") }}
with customers as (
    select * from {{ ref('stg_quickbooks__customers') }} where {{ only_touched_records('quickbooks', 'customers') }}
),

estimates as (
    select *, coalesce(cast(accepted_on as timestamp) + interval '17' hour, updated_at) as decided_at
    from {{ ref('stg_quickbooks__estimates') }}
    where {{ only_touched_records('quickbooks', 'estimates') }}
),

invoices as (
    select * from {{ ref('stg_quickbooks__invoices') }} where {{ only_touched_records('quickbooks', 'invoices') }}
),

payments as (
    select * from {{ ref('stg_quickbooks__payments') }} where {{ only_touched_records('quickbooks', 'payments') }}
),

receipts as (
    select * from {{ ref('stg_quickbooks__sales_receipts') }} where {{ only_touched_records('quickbooks', 'sales_receipts') }}
),

refunds as (
    select * from {{ ref('stg_quickbooks__refund_receipts') }} where {{ only_touched_records('quickbooks', 'refund_receipts') }}
),

credits as (
    select * from {{ ref('stg_quickbooks__credit_memos') }} where {{ only_touched_records('quickbooks', 'credit_memos') }}
),

events as (
    {{ event_rows('quickbooks', 'customers', 'customers', "'customer_created'", {
        'occurred_at': 'coalesce(created_at, received_at)', 'received_at': 'received_at', 'actor': "'staff'", 'reference': 'customer_id',
    }) }}

    union all

    {{ event_rows('quickbooks', 'estimates', 'estimates', "case when is_deleted or is_voided then 'estimate_deleted' else 'estimate_created' end", {
        'occurred_at': 'coalesce(created_at, received_at)', 'received_at': 'received_at', 'actor': "'staff'", 'value_cents': 'total_cents',
        'currency': 'currency', 'reference': 'estimate_id', 'detail': 'status',
    }) }}

    union all

    {{ event_rows('quickbooks', 'estimates', 'estimates', "'estimate_sent'", {
        'occurred_at': 'coalesce(sent_at, created_at)', 'received_at': 'received_at', 'direction': "'outbound'", 'contact_method': "'email'", 'actor': "'staff'",
        'value_cents': 'total_cents', 'currency': 'currency', 'reference': 'estimate_id',
    }, 'not is_deleted and not is_voided and sent_at is not null') }}

    union all

    {{ event_rows('quickbooks', 'estimates', 'estimates', "
        case when status in ('accepted', 'closed') then 'estimate_accepted' when status = 'rejected' then 'estimate_declined' end", {
        'occurred_at': 'coalesce(decided_at, created_at)', 'received_at': 'received_at', 'direction': "'inbound'", 'actor': "'customer'",
        'value_cents': 'total_cents', 'currency': 'currency', 'reference': 'estimate_id',
    }, 'not is_deleted and not is_voided') }}

    union all

    {{ event_rows('quickbooks', 'invoices', 'invoices', "'invoice_issued'", {
        'occurred_at': 'coalesce(created_at, received_at)', 'received_at': 'received_at', 'direction': "'outbound'", 'actor': "'staff'",
        'value_cents': 'case when is_deleted or is_voided then 0 else total_cents end', 'currency': 'currency', 'reference': 'invoice_id', 'detail': 'payment_state',
    }) }}

    union all

    {{ event_rows('quickbooks', 'invoices', 'invoices', "case when is_deleted then 'invoice_deleted' when is_voided then 'invoice_voided' end", {
        'occurred_at': 'coalesce(updated_at, received_at)', 'received_at': 'received_at', 'actor': "'staff'", 'reference': 'invoice_id',
    }) }}

    union all

    {{ event_rows('quickbooks', 'payments', 'payments', "'payment_received'", {
        'occurred_at': 'coalesce(created_at, received_at)', 'received_at': 'received_at', 'direction': "'inbound'", 'actor': "'customer'",
        'value_cents': 'case when is_deleted or is_voided then 0 else total_cents end', 'currency': 'currency', 'reference': 'payment_id',
    }) }}

    union all

    {{ event_rows('quickbooks', 'payments', 'payments', "'payment_reversed'", {
        'occurred_at': 'coalesce(updated_at, received_at)', 'received_at': 'received_at', 'actor': "'staff'", 'reference': 'payment_id',
    }, 'is_deleted or is_voided') }}

    union all

    {{ event_rows('quickbooks', 'sales_receipts', 'receipts', "'payment_received'", {
        'occurred_at': 'coalesce(created_at, received_at)', 'received_at': 'received_at', 'direction': "'inbound'", 'actor': "'customer'",
        'value_cents': 'case when is_deleted or is_voided then 0 else total_cents end', 'currency': 'currency', 'reference': 'sales_receipt_id',
    }) }}

    union all

    {{ event_rows('quickbooks', 'sales_receipts', 'receipts', "'payment_reversed'", {
        'occurred_at': 'coalesce(updated_at, received_at)', 'received_at': 'received_at', 'actor': "'staff'", 'reference': 'sales_receipt_id',
    }, 'is_deleted or is_voided') }}

    union all

    {{ event_rows('quickbooks', 'refund_receipts', 'refunds', "case when is_deleted or is_voided then 'credit_deleted' else 'refund_issued' end", {
        'occurred_at': 'coalesce(created_at, received_at)', 'received_at': 'received_at', 'direction': "'outbound'", 'actor': "'staff'",
        'value_cents': 'case when is_deleted or is_voided then 0 else -total_cents end', 'currency': 'currency', 'reference': 'refund_receipt_id',
    }) }}

    union all

    {{ event_rows('quickbooks', 'credit_memos', 'credits', "case when is_deleted or is_voided then 'credit_deleted' else 'credit_issued' end", {
        'occurred_at': 'coalesce(created_at, received_at)', 'received_at': 'received_at', 'direction': "'outbound'", 'actor': "'staff'",
        'value_cents': 'case when is_deleted or is_voided then 0 else -total_cents end', 'currency': 'currency', 'reference': 'credit_memo_id',
    }) }}
)

select * from events
