{{ base_records('hubspot', 'deal_contacts', {
    'from_id':  ['from.id', 'text'],
    'contacts': ['to', 'json'],
}) }}
