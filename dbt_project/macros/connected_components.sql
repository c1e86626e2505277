{# Materialization: the model's SQL gives edges (a, b, part) between text nodes, a = b for a node alone; the result is one row for each
   node: (node, component, part), where component is the least node it hangs together with.

   Each round every node takes the least label seen from its neighbours' labels, gives that to the node its own label names, and then
   jumps to its label's label (FastSV: rounds grow with the logarithm of the longest chain, where plain label passing needs as many rounds as
   the chain is long). Rounds are tables, because engines without recursion and engines that inline CTEs must run it too. They work on
   numbers in the order of the texts: comparing and joining those costs a fraction.

   `part` names what is computed together. When a model is built on, the edges must be all edges of the touched parts, and
   config.replaces says which rows of earlier builds go: 'parts' (those in the log of touched clusters) or 'components' (those of every
   node named; they are logged as touched clusters, before and after). A node with no part is named only to be taken away. #}
{% materialization connected_components, default %}
  {%- set target = this.incorporate(type='table') -%}
  {%- set existing = load_cached_relation(this) -%}
  {%- set building_on = builds_on() and not (config.require('replaces') == 'components' and everything_touched('keys')) -%}
  {%- set edges, nodes, links = component_table('edges'), component_table('nodes'), component_table('links') -%}
  {%- set labels = [component_table('even'), component_table('odd')] -%}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}

  {% do create_component_table(edges, sql) %}
  {% do create_component_table(nodes, "
    select node, min(part) as part, row_number() over (order by " ~ in_bytes('node') ~ ") as number
    from (select a as node, part from " ~ edges ~ " union all select b, part from " ~ edges ~ ") as ends
    group by node") %}
  {% do create_component_table(links, "
    with numbered as (
      select ends_a.number as a, ends_b.number as b
      from " ~ edges ~ " as edges inner join " ~ nodes ~ " as ends_a on edges.a = ends_a.node inner join " ~ nodes ~ " as ends_b on edges.b = ends_b.node
    )
    select a as u, b as v from numbered
    union
    select b, a from numbered") %}
  {% do create_component_table(labels[0], "select u as node, least(u, min(v)) as label, 1 as moved from " ~ links ~ " group by u") %}
  {%- set round = namespace(number=0, settled=false) -%}
  {%- for _ in range(60) -%}
    {%- if not round.settled -%}
      {%- set now, next = labels[round.number % 2], labels[(round.number + 1) % 2] -%}
      {% do create_component_table(next, "
        with jumped as (
          select here.node, here.label, above.label as label_above from " ~ now ~ " as here inner join " ~ now ~ " as above on here.label = above.node
        ),
        seen as (
          select links.u as node, min(jumped.label_above) as least
          from " ~ links ~ " as links inner join jumped on links.v = jumped.node
          group by links.u
        ),
        offers as (
          select node, label_above as offer from jumped
          union all
          select node, least from seen
          union all
          select jumped.label, seen.least from jumped inner join seen on jumped.node = seen.node
        ),
        taken as (select node, min(offer) as label from offers group by node)
        select taken.node, taken.label, case when taken.label <> before.label then 1 else 0 end as moved
        from taken inner join " ~ now ~ " as before on taken.node = before.node") %}
      {%- set round.number = round.number + 1 -%}
      {%- set moved = run_query("select coalesce(sum(moved), 0) from " ~ next).columns[0].values()[0] | int -%}
      {%- if moved == 0 -%}{%- set round.settled = true -%}{%- endif -%}
    {%- endif -%}
  {%- endfor -%}
  {%- if not round.settled -%}{{ exceptions.raise_compiler_error(this.identifier ~ ' did not settle in 60 rounds') }}{%- endif -%}

  {%- set result = "
    select nodes.node, least_nodes.node as component, nodes.part
    from " ~ labels[round.number % 2] ~ " as settled
    inner join " ~ nodes ~ " as nodes on settled.node = nodes.number
    inner join " ~ nodes ~ " as least_nodes on settled.label = least_nodes.number
    where nodes.part is not null" -%}
  {%- if not building_on -%}
    {%- if existing -%}{% do adapter.drop_relation(existing) %}{%- endif -%}
    {% call statement('main') %}{{ create_table_as(False, target, result) }}{% endcall %}
    {%- if config.require('replaces') == 'components' -%}
      {% do run_query("insert into landing.touched_clusters select " ~ this_build() ~ ", null") %}
    {%- endif -%}
  {%- elif config.require('replaces') == 'components' -%}
    {%- set reached = "(select distinct component from " ~ target ~ " where node in (select node from " ~ nodes ~ "))" -%}
    {% do run_query("insert into landing.touched_clusters select " ~ this_build() ~ ", component from " ~ reached ~ " as reached
        union select " ~ this_build() ~ ", component from (" ~ result ~ ") as made") %}
    {% call statement('main') %}
      delete from {{ target }} where component in {{ reached }};
      insert into {{ target }} (node, component, part) {{ result }};
    {% endcall %}
  {%- else -%}
    {% call statement('main') %}
      delete from {{ target }} where {{ only_touched('clusters', 'part') }};
      insert into {{ target }} (node, component, part) {{ result }};
    {% endcall %}
  {%- endif -%}
  {% call statement('progress') %}{{ note_progress() }}{% endcall %}
  {%- for relation in [edges, nodes, links] + labels -%}{% do adapter.drop_relation(relation) %}{%- endfor -%}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {{ adapter.commit() }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [target]}) }}
{% endmaterialization %}

{% macro component_table(name) %}{{ return(this.incorporate(path={'identifier': this.identifier ~ '__' ~ name}, type='table')) }}{% endmacro %}

{% macro create_component_table(relation, query) %}
  {% do adapter.drop_relation(relation) %}
  {% call statement('component_table') %}{{ create_table_as(False, relation, query) }}{% endcall %}
{% endmacro %}
