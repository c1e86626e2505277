-- An urgent task is open from when it is due until somebody is on it, or it is too late.
select sequence.client_id, sequence.lead_id, sequence.step_key, sequence.due_at, urgent.step_key as urgent_step_key
from {{ ref('fct_follow_up_steps') }} as sequence
inner join {{ ref('fct_follow_up_steps') }} as urgent
    on sequence.client_id = urgent.client_id and sequence.lead_id = urgent.lead_id
where sequence.priority = 'nurture' and sequence.state = 'due'
    and urgent.priority = 'urgent' and urgent.state = 'due'
    and sequence.due_at >= urgent.due_at
    and sequence.due_at < least(urgent.expires_at, coalesce(urgent.stopped_at, urgent.expires_at))
