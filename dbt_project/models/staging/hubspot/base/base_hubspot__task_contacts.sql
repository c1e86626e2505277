{{ base_records('hubspot', 'task_contacts', {
    'from_id':  ['from.id', 'text'],
    'contacts': ['to', 'json'],
}) }}
