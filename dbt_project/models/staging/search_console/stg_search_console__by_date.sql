with partitions as (
    select client_id, record_key, site_url, searched_on, is_final, received_at
    from {{ ref('base_search_console__by_date') }}
    where rejected_because is null
),

totals as (
    {{ search_console_rows('by_date') | indent(4) }}
),

-- Google leaves out days without searches. Once a day is final that means zero; before, that nothing is known yet.
final as (
    select
        partitions.client_id,
        partitions.record_key,
        partitions.site_url,
        partitions.searched_on,
        coalesce(totals.clicks, 0) as clicks,
        coalesce(totals.impressions, 0) as impressions,
        totals.ctr,
        totals.average_position,
        partitions.is_final,
        partitions.received_at
    from partitions
    left join totals on partitions.record_key = totals.record_key
    where totals.record_key is not null or partitions.is_final
)

select * from final
