with found as (
    {{ search_console_rows('by_page', 'keys[0]') | indent(4) }}
),

final as (
    select
        found.client_id,
        found.row_key,
        found.record_key,
        found.site_url,
        found.searched_on,
        found.value as page_url,
        found.clicks,
        found.impressions,
        found.ctr,
        found.average_position,
        found.is_final,
        found.is_cap_suspected,
        found.received_at
    from found
)

select * from final
