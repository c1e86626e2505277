{# Google's rows out of the partitions of one stream, one for each value of the dimension, which a row names at `value_path`.
   The value is '' if the partition has a single row. Google may send a row on two pages of one answer: the later one counts. #}
{% macro search_console_rows(stream, value_path='') %}
with partitions as (
    select client_id, record_key, site_url, searched_on, is_final, responses, received_at
    from {{ ref('base_search_console__' ~ stream) }}
    where rejected_because is null
),

pages as (
    select
        partitions.client_id, partitions.record_key, partitions.site_url, partitions.searched_on, partitions.is_final,
        partitions.received_at, each_item.item_number as page_number, {{ json_text('each_item.item', 'rows') }} as page_rows
    from partitions
    {{ json_each('partitions.responses') }}
),

found as (
    select
        pages.client_id, pages.record_key, pages.site_url, pages.searched_on, pages.is_final, pages.received_at,
        pages.page_number, each_item.item_number as row_number_on_page,
        {% if value_path %}coalesce({{ json_text('each_item.item', value_path) }}, ''){% else %}''{% endif %} as value,
        cast({{ typed_value(json_text('each_item.item', 'clicks'), 'double') }} as bigint) as clicks,
        cast({{ typed_value(json_text('each_item.item', 'impressions'), 'double') }} as bigint) as impressions,
        {{ typed_value(json_text('each_item.item', 'ctr'), 'double') }} as ctr,
        {{ typed_value(json_text('each_item.item', 'position'), 'double') }} as average_position
    from pages
    {{ json_each('pages.page_rows') }}
),

ranked as (
    select
        found.*,
        row_number() over (
            partition by found.record_key, found.value
            order by found.page_number desc, found.row_number_on_page desc
        ) as from_the_end
    from found
)

select
    client_id, record_key, record_key || '|' || value as row_key, site_url, searched_on, value, clicks, impressions, ctr,
    average_position, is_final, count(*) over (partition by record_key) >= 50000 as is_cap_suspected, received_at
from ranked
where from_the_end = 1
{% endmacro %}
