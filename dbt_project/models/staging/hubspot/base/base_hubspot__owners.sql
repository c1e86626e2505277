{{ base_records('hubspot', 'owners', {
    'owner_id':   ['id', 'text', 'required'],
    'email':      ['email', 'text'],
    'first_name': ['firstName', 'text'],
    'last_name':  ['lastName', 'text'],
    'owner_type': ['type', 'text'],
    'is_archived': ['archived', 'boolean'],
}) }}
