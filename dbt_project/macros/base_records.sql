{# The one way from landing to typed rows: latest version of each record, parsed once, bad values named.

   fields: {column: [path, type] or [path, type, 'required']}. A path is dotted JSON keys; `a|b` takes the first that is not
   null. A missing or unreadable required field puts the row aside (`rejected_because`); an unreadable optional value becomes
   null and is named in `dropped_values`. Both appear in the quarantine model.

   Which version wins: the provider's own update time (or, if it has none, when we received it), then when we received it, then
   the content's key. A version landed again is not a new version, so re-landing changes nothing; A -> B -> A is three versions.
   `received_at` is when this version was first known, `first_known_at` when the record was. Order of loading does not matter: a rebuild gives the same rows.

   A record the provider stopped serving (`via = 'observed'`) keeps its row and gets `absent_since`, until it is served again. #}
{% macro base_records(provider, stream, fields) %}
{{ config(
    materialized='incremental', incremental_strategy='latest_version', touches=[provider, stream], on_schema_change='fail',
    post_hook="{{ note_loaded('" ~ provider ~ "', '" ~ stream ~ "') }}"
) }}
-- depends_on: {{ source(provider, stream) }}
{%- set segments = pending_segments(provider, stream) -%}
{%- set paths = [] -%}
{%- for spec in fields.values() -%}{%- for path in spec[0].split('|') -%}{%- if path not in paths -%}{%- do paths.append(path) -%}{%- endif -%}{%- endfor -%}{%- endfor %}

-- the envelopes alone: which version wins is decided without moving a payload
with landed as (
    {{ read_segments(segments, with_payload=false) }}
),

versions as (
    select
        client_id, record_id, updated_at, received_at, idempotency_key, batch_id, segment, segment_row,
        coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (
            partition by client_id, record_id
            order by coalesce(updated_at, received_at), received_at, idempotency_key, batch_id
        ) as key_before
    from landed
    where via <> 'observed'
),

changes as (
    select
        *,
        row_number() over (
            partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc, batch_id desc
        ) as newest
    from versions
    where key_before is null or key_before <> idempotency_key
),

absences as (
    select client_id, record_id, received_at as absent_at
    from landed
    where via = 'observed'
),

seen as (
    select client_id, record_id, max(received_at) as seen_at, min(received_at) as first_seen_at
    from landed
    where via <> 'observed'
    group by client_id, record_id
),

first_absence as (
    select seen.client_id, seen.record_id, min(absences.absent_at) as absent_since
    from seen
    inner join absences
        on seen.client_id = absences.client_id and seen.record_id = absences.record_id
        and absences.absent_at > seen.seen_at
    group by seen.client_id, seen.record_id
),

winners as (
    select
        changes.client_id, changes.record_id, changes.segment, changes.segment_row, first_absence.absent_since,
        {% if is_incremental() %}least(seen.first_seen_at, kept.first_known_at){% else %}seen.first_seen_at{% endif %} as first_known_at
    from changes
    inner join seen on changes.client_id = seen.client_id and changes.record_id = seen.record_id
    left join first_absence
        on changes.client_id = first_absence.client_id and changes.record_id = first_absence.record_id
    {%- if is_incremental() %}
    left join {{ this }} as kept
        on changes.client_id = kept.client_id and changes.record_id = kept.record_id
    {%- endif %}
    where changes.newest = 1
    {%- if is_incremental() %}
        and (
            kept.record_id is null
            or (
                (changes.version_at, changes.received_at, changes.idempotency_key)
                > (coalesce(kept.updated_at, kept.received_at), kept.received_at, kept.idempotency_key)
                and (changes.key_before is not null or changes.idempotency_key <> kept.idempotency_key)
            )
        )
    {%- endif %}
),

raw_values as (
    select
        payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via,
        payloads.idempotency_key, payloads.batch_id, winners.absent_since, winners.first_known_at, {{ json_values('payloads.payload', paths) }} as v
    from (
        {{ read_segments(segments, with_payload=true) }}
    ) as payloads
    inner join winners on payloads.segment = winners.segment and payloads.segment_row = winners.segment_row
),

picked as (
    select
        client_id, record_id, occurred_at, updated_at, received_at, via, idempotency_key, batch_id, absent_since, first_known_at
        {%- for path in paths %}, {{ nth_value_of('v', loop.index) }} as v{{ loop.index }}{% endfor %}
    from raw_values
),

typed as (
    select
        client_id, record_id, occurred_at, updated_at, received_at, via, idempotency_key, batch_id, absent_since, first_known_at
        {%- for column, spec in fields.items() %}
        {%- set raw = json_value('v', spec[0], paths) %},
        {{ typed_value(raw, spec[1]) }} as {{ column }}
        {%- if spec[1] not in ('text', 'json') %}, {{ raw }} as {{ column }}__raw{% endif %}
        {%- endfor %}
    from picked
),

parsed as (
    select
        typed.client_id,
        typed.client_id || ':' || typed.record_id as record_key,
        typed.record_id
        {%- for column in fields %},
        typed.{{ column }}
        {%- endfor %},
        typed.occurred_at, typed.updated_at, typed.received_at, typed.first_known_at, typed.via, typed.idempotency_key, typed.batch_id,
        typed.absent_since is not null as is_absent,
        typed.absent_since,
        {{ named_problems(fields, true) }} as rejected_because,
        {{ named_problems(fields, false) }} as dropped_values
    from typed
)

select * from parsed
{%- if is_incremental() %}

union all

-- known records that are news only in being gone, in being back as they were, or in having been known earlier: their last values stay
select
    kept.client_id,
    kept.record_key,
    kept.record_id
    {%- for column in fields %},
    kept.{{ column }}
    {%- endfor %},
    kept.occurred_at, kept.updated_at, kept.received_at, presence.first_known_at, kept.via, kept.idempotency_key, kept.batch_id,
    presence.absent_since is not null as is_absent,
    presence.absent_since,
    kept.rejected_because, kept.dropped_values
from {{ this }} as kept
inner join (
    select
        known.client_id,
        known.record_id,
        case
            when max(case when (known.absent_since is null and absences.absent_at is not null) or seen.seen_at > known.absent_since then 1 else 0 end) = 1
                then min(absences.absent_at)
            else max(known.absent_since)
        end as absent_since,
        least(min(known.first_known_at), min(seen.first_seen_at)) as first_known_at
    from (select distinct client_id, record_id from landed) as touched
    inner join {{ this }} as known
        on touched.client_id = known.client_id and touched.record_id = known.record_id
    left join seen
        on touched.client_id = seen.client_id and touched.record_id = seen.record_id
    left join absences
        on touched.client_id = absences.client_id and touched.record_id = absences.record_id
        and absences.absent_at > known.received_at and (seen.seen_at is null or absences.absent_at > seen.seen_at)
    where (known.absent_since is null and absences.absent_at is not null) or seen.seen_at > known.absent_since
        or seen.first_seen_at < known.first_known_at
    group by known.client_id, known.record_id
) as presence on kept.client_id = presence.client_id and kept.record_id = presence.record_id
where kept.record_key not in (select client_id || ':' || record_id from winners)
{%- endif %}
{% endmacro %}

{# Envelope columns of the given segments; an empty set when there is nothing to read. An engine that reads no Parquet files needs a
   version of its own, over a table they are copied into. #}
{% macro read_segments(segments, with_payload) %}{{ return(adapter.dispatch('read_segments')(segments, with_payload)) }}{% endmacro %}
{% macro default__read_segments(segments, with_payload) %}
  {%- if segments %}
    select
        client_id, record_id, occurred_at, updated_at, received_at, via, idempotency_key, batch_id,
        {%- if with_payload %} payload,{% endif %}
        filename as segment, file_row_number as segment_row
    from read_parquet([{% for path in segments %}'{{ path }}'{{ ', ' if not loop.last }}{% endfor %}], filename = true, file_row_number = true)
  {%- else %}
    select
        cast(null as {{ text_type() }}) as client_id, cast(null as {{ text_type() }}) as record_id, cast(null as timestamp) as occurred_at,
        cast(null as timestamp) as updated_at, cast(null as timestamp) as received_at, cast(null as {{ text_type() }}) as via,
        cast(null as {{ text_type() }}) as idempotency_key, cast(null as {{ text_type() }}) as batch_id, cast(null as {{ text_type() }}) as payload,
        cast(null as {{ text_type() }}) as segment, cast(null as bigint) as segment_row
    where false
  {%- endif %}
{% endmacro %}

{# The raw text at `a|b`, out of columns named <values>1, <values>2 ... in the order of `paths`. #}
{% macro json_value(values, alternatives, paths) -%}
  {%- set parts = [] -%}
  {%- for path in alternatives.split('|') -%}{%- do parts.append(blank_to_null(values ~ (paths.index(path) + 1))) -%}{%- endfor -%}
  {%- if parts | length == 1 -%}{{ parts[0] }}{%- else -%}coalesce({{ parts | join(', ') }}){%- endif -%}
{%- endmacro %}

{% macro named_problems(fields, required) -%}
  {%- set kinds = {'integer': 'a whole number', 'double': 'a number', 'boolean': 'true or false', 'timestamp': 'a time with its offset',
      'timestamp_ms': 'a time in milliseconds', 'timestamp_s': 'a time in seconds', 'rfc2822': 'a mail date', 'date': 'a date', 'money': 'an amount of money', 'micros': 'an amount of money'} -%}
  {%- set cases = [] -%}
  {%- for column, spec in fields.items() -%}
    {%- set is_required = spec | length > 2 and spec[2] == 'required' -%}
    {%- if is_required == required -%}
      {%- if spec[1] not in ('text', 'json') -%}
        {%- do cases.append("case when typed." ~ column ~ " is null and typed." ~ column ~ "__raw is not null then '" ~ column ~ " is not " ~ kinds[spec[1]] ~ "' end") -%}
      {%- endif -%}
      {%- if required -%}
        {%- do cases.append("case when typed." ~ column ~ (("__raw") if spec[1] not in ('text', 'json') else "") ~ " is null then '" ~ column ~ " is missing' end") -%}
      {%- endif -%}
    {%- endif -%}
  {%- endfor -%}
  {%- if cases -%}nullif(concat_ws('; ', {{ cases | join(', ') }}), ''){%- else -%}cast(null as {{ text_type() }}){%- endif -%}
{%- endmacro %}
