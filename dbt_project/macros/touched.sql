{# Only what changed is computed again, and the result is the same as computing everything.

   Each build has a number. A model that takes in changes writes down what it touched under that number, in a log of its
   own kind: `landing.touched_records` (by the base models), `landing.touched_keys` (identifiers on those records, before and after)
   and `landing.touched_clusters` (groups of records that share identifiers, before and after). A model further on reads the log
   from where it stopped (`landing.progress`), deletes the rows of what is named there and computes them anew. Log and progress
   are written in the transaction of the model's rows, so a build may die anywhere and any selection of models may be built.
   A row with a null name means: everything. #}

{% macro note_build() %}
  create table if not exists landing.builds (build bigint not null);
  create table if not exists landing.progress (model {{ text_type() }} not null, build bigint not null);
  create table if not exists landing.touched_records (build bigint not null, provider {{ text_type() }} not null, stream {{ text_type() }} not null, touched {{ text_type() }});
  create table if not exists landing.touched_keys (build bigint not null, touched {{ text_type() }});
  create table if not exists landing.touched_clusters (build bigint not null, touched {{ text_type() }});
  {{ forget_handed_on() }}
  insert into landing.builds select coalesce(max(build), 0) + 1 from landing.builds;
  delete from landing.builds where build < (select max(build) from landing.builds);
  -- what every reader has read goes; some read only their own provider's records, and may have had no news for long
  {%- set adapters = "(model like 'int_events__%' or model like 'stg_%')" %}
  delete from landing.touched_records
  where build <= (select min(build) from landing.progress where not {{ adapters }})
    and build <= (
      select coalesce(min(progress.build), {{ this_build() }}) from landing.progress as progress
      where progress.model = 'int_events__' || landing.touched_records.provider
        or progress.model like 'stg_' || landing.touched_records.provider || '__%'
    );
  {%- for log in ['keys', 'clusters'] %}
  delete from landing.touched_{{ log }} where build <= (select min(build) from landing.progress where not {{ adapters }});
  {%- endfor %}
{% endmacro %}

{% macro this_build() %}(select max(build) from landing.builds){% endmacro %}

{# What is_incremental() is to dbt's own materialization, for ours as well. #}
{% macro builds_on() %}
  {{ return(execute and model.config.materialized in ('incremental', 'connected_components')
      and load_cached_relation(this) is not none and not should_full_refresh()) }}
{% endmacro %}

{# The number of the build up to which this model has read the logs. Asked once for each model: `model` is its own dictionary. #}
{% macro progress() %}
  {%- if builds_on() -%}
    {%- if 'progress' not in model -%}
      {%- set rows = run_query("select coalesce(max(build), 0) from landing.progress where model = '" ~ this.identifier ~ "'") -%}
      {%- do model.update({'progress': rows.columns[0].values()[0] | int}) -%}
    {%- endif -%}
    {{ return(model['progress']) }}
  {%- endif -%}
  {{ return(0) }}
{% endmacro %}

{% macro note_progress() %}
  delete from landing.progress where model = '{{ this.identifier }}';
  insert into landing.progress select '{{ this.identifier }}', max(build) from landing.builds
{% endmacro %}

{# What this model has yet to take in from a log, as a subselect. #}
{% macro pending(log, where='true') %}(select touched from landing.touched_{{ log }} where build > {{ progress() }} and {{ where }}){% endmacro %}

{# Whether a log says "everything" since this model last looked. #}
{% macro everything_touched(log, where='true') %}
  {%- if builds_on() -%}
    {%- set rows = run_query("select count(*) from landing.touched_" ~ log ~ " where touched is null and build > " ~ progress() ~ " and " ~ where) -%}
    {{ return(rows.columns[0].values()[0] | int > 0) }}
  {%- endif -%}
  {{ return(true) }}
{% endmacro %}

{# A condition: only rows whose `column` the log names. `true` when everything is to be computed. #}
{% macro only_touched(log, column, where='true') -%}
  {%- if everything_touched(log, where) -%}true{%- else -%}{{ column }} in {{ pending(log, where) }}{%- endif -%}
{%- endmacro %}

{# The same for records of one stream, by record_key. `false` when there is no news of the stream: then its table is not even read. A few
   names are written out: an engine looks for them while it reads the table; for a subselect it computes every row of a view first. #}
{% macro only_touched_records(provider, stream, column='record_key') -%}
  {%- if not (execute and is_incremental()) -%}true
  {%- else -%}
    {%- set news = streams_with_news().get(provider ~ ':' ~ stream) -%}
    {%- if news is none -%}false
    {%- elif news.everything -%}true
    {%- elif news.names -%}{{ column }} in ({{ news.names }})
    {%- else -%}{{ column }} in {{ pending('records', "provider = '" ~ provider ~ "' and stream = '" ~ stream ~ "'") }}
    {%- endif -%}
  {%- endif -%}
{%- endmacro %}

{# The same, and the records of `relation` whose `owner_key` is the record_key of a touched record of `owner_stream`: they are read together. #}
{% macro only_touched_or_owned(provider, stream, owner_stream, relation, owner_key) -%}
  {%- set touched = only_touched_records(provider, stream) -%}
  {%- set owner_touched = only_touched_records(provider, owner_stream, owner_key) -%}
  {%- if 'true' in [touched, owner_touched] -%}true
  {%- elif owner_touched == 'false' -%}{{ touched }}
  {%- else -%}
    {%- set owned = "select record_key from " ~ relation ~ " where " ~ owner_touched -%}
    {%- set found = written_out('record_key', owned) -%}
    {%- set own = (streams_with_news().get(provider ~ ':' ~ stream) or {}).names -%}
    {%- if found.count == 0 -%}{{ touched }}
    {%- elif found.names and (own or touched == 'false') -%}record_key in ({{ [own, found.names] | select | join(', ') }})
    {%- else -%}({{ touched }} or record_key in ({{ found.names or owned }}))
    {%- endif -%}
  {%- endif -%}
{%- endmacro %}

{# `or` all rows of the clients of touched records of a stream on which others depend by client; nothing where there is no such news. #}
{% macro or_of_clients_touched(provider, stream, relation, column='client_id') -%}
  {%- set condition = only_touched_records(provider, stream) -%}
  {%- if condition not in ('true', 'false') -%}or {{ column }} in (select client_id from {{ relation }} where {{ condition }})
  {%- elif condition == 'true' and is_incremental() -%}or true
  {%- endif -%}
{%- endmacro %}

{# Streams named in the log of records since this model last looked: {'provider:stream': {everything: whether the log says so, names: of the
   records as a list to write out, empty if they are many}}. Asked once for each model. #}
{% macro streams_with_news() %}
  {%- if 'streams_with_news' not in model -%}
    {%- set found = {} -%}
    {%- set query -%}
      select stream, max(case when touched is null then 1 else 0 end), case when count(*) <= 2000 then {{ text_list(quoted('touched'), 'touched', ', ') }} end
      from (select distinct provider || ':' || stream as stream, touched from landing.touched_records where build > {{ progress() }}) as news
      group by stream
    {%- endset -%}
    {%- for row in run_query(query).rows -%}{%- do found.update({row[0]: {'everything': row[1] == 1, 'names': row[2]}}) -%}{%- endfor -%}
    {%- do model.update({'streams_with_news': found}) -%}
  {%- endif -%}
  {{ return(model['streams_with_news']) }}
{% endmacro %}

{# The text as a literal of SQL. #}
{% macro quoted(expression) %}'''' || replace({{ expression }}, '''', '''''') || ''''{% endmacro %}

{# What a query finds in its one column: {count, names: as a list to write out, empty if they are many}. #}
{% macro written_out(column, query) -%}
  {%- set row = run_query("select count(*), case when count(*) <= 2000 then " ~ text_list(quoted(column), column, ', ') ~ " end from (" ~ query ~ ") as found").rows[0] -%}
  {{ return({'count': row[0], 'names': row[1]}) }}
{%- endmacro %}

{# The same by an identifier that records of two streams share: that of the touched records of both. #}
{% macro only_sharing(column, relations) -%}
  {%- if not builds_on() -%}true
  {%- else -%}
    {%- set news -%}
      {%- for relation, provider, stream in relations %}
      select {{ column }} from {{ relation }} where {{ column }} is not null and {{ only_touched_records(provider, stream) }}
      {{ 'union' if not loop.last }}
      {%- endfor %}
    {%- endset -%}
    {%- set found = written_out(column, news) -%}
    {%- if found.count == 0 -%}false
    {%- else -%}{{ column }} in ({{ found.names or news }})
    {%- endif -%}
  {%- endif -%}
{%- endmacro %}

{# incremental_strategy='staged_records', of staging models that are tables: rows of touched records of `config.records_of` go, and those that
   the model brings are replaced. #}
{% macro get_incremental_staged_records_sql(arg_dict) %}
  {%- set target, fresh = arg_dict['target_relation'], arg_dict['temp_relation'] -%}
  {%- set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') -%}
  {%- set provider, stream = config.require('records_of') -%}
  delete from {{ target }} where {{ only_touched_records(provider, stream) }} or record_key in (select record_key from {{ fresh }});
  insert into {{ target }} ({{ columns }}) select {{ columns }} from {{ fresh }}
{% endmacro %}

{# incremental_strategy='latest_version', of base models: a record's row is replaced, and the record is touched. What landed again as it
   was, or in a compacted segment, touches nothing. `config.read_together` names a column: records of a client that are alike in it, before
   or after, are touched together. It is done here and not by who reads them: names of touched records are written out in a reader's text. #}
{% macro get_incremental_latest_version_sql(arg_dict) %}
  {%- set target, fresh = arg_dict['target_relation'], arg_dict['temp_relation'] -%}
  {%- set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') -%}
  {%- set provider, stream = config.require('touches') -%}
  {%- set read_together = config.get('read_together') -%}
  {{ touch_alike(target, fresh, provider, stream, read_together) if read_together }}
  delete from {{ target }} where record_key in (select record_key from {{ fresh }});
  insert into {{ target }} ({{ columns }}) select {{ columns }} from {{ fresh }};
  {{ touch_alike(target, fresh, provider, stream, read_together) if read_together }}
  insert into landing.touched_records select {{ this_build() }}, '{{ provider }}', '{{ stream }}', record_key from {{ fresh }}
{% endmacro %}

{% macro touch_alike(target, fresh, provider, stream, column) %}
  insert into landing.touched_records
  select distinct {{ this_build() }}, '{{ provider }}', '{{ stream }}', alike.record_key
  from {{ target }} as held
  inner join {{ target }} as alike on held.client_id = alike.client_id and held.{{ column }} = alike.{{ column }}
  where held.record_key in (select record_key from {{ fresh }}) and alike.record_key not in (select record_key from {{ fresh }});
{% endmacro %}

{# incremental_strategy='touched': rows of what the log names go, the model's rows come. `config.touched` names log and column. #}
{% macro get_incremental_touched_sql(arg_dict) %}
  {%- set log, column = config.require('touched') -%}
  {%- set target, fresh = arg_dict['target_relation'], arg_dict['temp_relation'] -%}
  {%- set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') -%}
  {%- if everything_touched(log) %}
  delete from {{ target }};
  {%- else %}
  delete from {{ target }} where {{ column }} in {{ pending(log) }};
  {%- endif %}
  insert into {{ target }} ({{ columns }}) select {{ columns }} from {{ fresh }}
{% endmacro %}

{# incremental_strategy='touched_records': the same for rows of records, whose names are unique within their stream only. Rows the
   model brings replace the record's earlier rows even if the log does not name it: some records are read together with others, and
   are touched from then on. With `logs_keys`, the identifiers of those rows, before and after, are logged. #}
{% macro get_incremental_touched_records_sql(arg_dict) %}
  {%- set target, fresh = arg_dict['target_relation'], arg_dict['temp_relation'] -%}
  {%- set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') -%}
  {%- set since = progress() -%}
  {%- set gone -%}
    (record_uid in (
        select provider || ':' || stream || ':' || touched from landing.touched_records where build > {{ since }} and touched is not null
        union all
        select record_uid from {{ fresh }}
    ){% if everything_touched('records') %} or provider || ':' || stream in (
        select provider || ':' || stream from landing.touched_records where build > {{ since }} and touched is null
    ){% endif %})
  {%- endset -%}
  {%- if not config.get('logs_keys', false) %}
  insert into landing.touched_records
  select distinct {{ this_build() }}, provider, stream, substr(record_uid, length(provider) + length(stream) + 3) from {{ fresh }}
  where record_uid not in (
    select provider || ':' || stream || ':' || touched from landing.touched_records where touched is not null and build = {{ this_build() }}
  );
  {%- else %}
  insert into landing.touched_keys select distinct {{ this_build() }}, identity_key from {{ target }} where {{ gone }};
  insert into landing.touched_keys select distinct {{ this_build() }}, identity_key from {{ fresh }};
  {%- endif %}
  delete from {{ target }} where {{ gone }};
  insert into {{ target }} ({{ columns }}) select {{ columns }} from {{ fresh }}
{% endmacro %}

{# Write "everything" into a log, when a model was built from nothing. #}
{% macro note_everything(log) %}
  {%- if not is_incremental() %}
  insert into landing.touched_{{ log }} (build, touched) select {{ this_build() }}, null
  {%- else %}
  select 1
  {%- endif %}
{% endmacro %}

{# When we first read a stream tells since when we knew all that is in it: if an earlier segment comes late, everybody with a record
   there is touched, for what hangs on int_identity. #}
{% macro touch_moved_first_days() %}
  {%- if is_incremental() %}
  insert into landing.touched_clusters
  select distinct {{ this_build() }}, identity.cluster_id
  from {{ this }} as identity
  inner join (
    select records.client_id, records.provider, records.stream
    from {{ ref('int_records') }} as records
    left join (
      select distinct provider || ':' || stream || ':' || touched as record_uid from landing.touched_records
      where build > {{ progress() }} and touched is not null
    ) as news on records.record_uid = news.record_uid
    group by records.client_id, records.provider, records.stream
    having min(case when news.record_uid is not null then records.first_known_at end) < min(case when news.record_uid is null then records.first_known_at end)
  ) as moved on identity.client_id = moved.client_id and identity.provider = moved.provider and identity.stream = moved.stream
  {%- else %}
  select 1
  {%- endif %}
{% endmacro %}
