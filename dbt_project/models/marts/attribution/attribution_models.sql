-- Which models a client is shown, and why one is not.
with paths as (
    select
        client_id,
        count(*) as paths,
        sum(case when is_booked then 1 else 0 end) as booked_paths
    from {{ ref('int_touches') }}
    where touch_number = 1 and is_credited
    group by client_id
),

counted as (
    select
        clients.client_id,
        coalesce(paths.paths, 0) as paths,
        coalesce(paths.booked_paths, 0) as booked_paths,
        coalesce(paths.paths >= {{ var('data_driven_min_paths') }} and paths.booked_paths >= {{ var('data_driven_min_booked') }}, false) as is_enough
    from {{ source('leadtrail', 'clients') }} as clients
    left join paths on clients.client_id = paths.client_id
)

{% for model in ['first', 'last', 'linear', 'position_based', 'w_shaped', 'time_decay'] %}
select
    client_id || '|{{ model }}' as client_model, client_id, '{{ model }}' as model, true as is_shown,
    cast(paths as bigint) as paths, cast(booked_paths as bigint) as booked_paths, 'A rule: it needs no minimum.' as reason
from counted

union all
{% endfor %}
select
    client_id || '|data_driven', client_id, 'data_driven', is_enough, cast(paths as bigint), cast(booked_paths as bigint),
    case when is_enough then 'Learnt' else 'Not shown: it would be learnt' end
        || ' from ' || cast(booked_paths as {{ text_type() }}) || ' booked of ' || cast(paths as {{ text_type() }}) || ' leads with touches; '
        || 'needed are {{ var("data_driven_min_booked") }} of {{ var("data_driven_min_paths") }}.'
from counted
