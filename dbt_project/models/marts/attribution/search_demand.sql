-- Search demand, beside the channels: what people saw and clicked in Google's results. It counts searches, never persons, so it is not a
-- touch and is joined to no lead. Google leaves rare queries out; what they make up is the difference to the day's total.
with queries as (
    select
        client_id, site_url, searched_on, sum(clicks) as clicks, sum(impressions) as impressions,
        max(case when is_cap_suspected then 1 else 0 end) = 1 as is_cap_suspected
    from {{ ref('stg_search_console__by_query') }}
    group by client_id, site_url, searched_on
),

-- a fresh day can be known before its queries are: then nothing is known of them
days as (
    select
        totals.*,
        case when queries.client_id is not null or totals.is_final then coalesce(queries.clicks, 0) end as named_clicks,
        case when queries.client_id is not null or totals.is_final then coalesce(queries.impressions, 0) end as named_impressions,
        coalesce(queries.is_cap_suspected, false) as is_cap_suspected
    from {{ ref('stg_search_console__by_date') }} as totals
    left join queries
        on totals.client_id = queries.client_id and totals.site_url = queries.site_url and totals.searched_on = queries.searched_on
)

select
    record_key as site_day,
    client_id,
    site_url,
    searched_on,
    cast(date_trunc('month', searched_on) as date) as month,
    cast(clicks as bigint) as clicks,
    cast(impressions as bigint) as impressions,
    cast(named_clicks as bigint) as named_clicks,
    cast(named_impressions as bigint) as named_impressions,
    cast(case when named_clicks is not null then greatest(clicks - named_clicks, 0) end as bigint) as anonymised_clicks,
    cast(
        case when named_clicks is not null then cast(greatest(clicks - named_clicks, 0) as {{ double_type() }}) / nullif(clicks, 0) end as decimal(9, 6)
    ) as anonymised_share,
    is_cap_suspected,
    is_final
from days
