{{ base_records('hubspot', 'tasks', {
    'task_id':      ['id', 'text', 'required'],
    'created_at':   ['properties.hs_createdate|createdAt', 'timestamp', 'required'],
    'due_at':       ['properties.hs_timestamp', 'timestamp'],
    'subject':      ['properties.hs_task_subject', 'text'],
    'body':         ['properties.hs_task_body', 'text'],
    'status':       ['properties.hs_task_status', 'text'],
    'priority':     ['properties.hs_task_priority', 'text'],
    'task_type':    ['properties.hs_task_type', 'text'],
    'completed_at': ['properties.hs_task_completion_date', 'timestamp'],
    'owner_id':     ['properties.hubspot_owner_id', 'text'],
    'is_archived':  ['archived', 'boolean'],
    'archived_at':  ['archivedAt', 'timestamp'],
}) }}
